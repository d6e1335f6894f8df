//! Frame headers, masking and the body of close frames.

use wshost::websocket::close;
use wshost::websocket::frame::{FrameHeader, HeaderStep, LengthError, opcode, parse_header};
use wshost::websocket::mask::{apply_mask, apply_repeated_key};
use wshost::websocket::reader::{FrameReader, FrameRefusal};

/// Takes `data` as a frame.
pub fn run(data: &[u8]) {
    let whole = parse_header(data);
    assert_eq!(whole, model(data), "what RFC 6455 section 5.2 says");
    assert_eq!(read_by_need(data), whole, "read in the steps that were asked for");
    check_reader(data, whole);
    let Ok(HeaderStep::Done { header, length }) = whole else { return };
    assert_eq!(parse_header(&data[..length]), whole, "nothing behind the header is looked at");
    check_encoding(header, &data[..length]);
    let payload = &data[length..];
    if let Some(key) = header.mask {
        check_mask(payload, key);
    }
    if header.opcode == opcode::CLOSE {
        check_close(payload);
    }
}

/// The rules for what is taken add to the grammar, and change nothing of it.
fn check_reader(data: &[u8], whole: Result<HeaderStep, LengthError>) {
    let masked = data.get(1).is_some_and(|second| second & 0x80 != 0);
    let read = |masked, limit| FrameReader { masked, limit }.read(data);
    assert_eq!(read(masked, u64::MAX), whole.map_err(FrameRefusal::Length));
    if data.len() >= 2 {
        assert_eq!(read(!masked, u64::MAX), Err(FrameRefusal::WrongMasking));
    }
    if let Ok(HeaderStep::Done { header, length }) = whole
        && let Some(limit) = header.payload_length.checked_sub(1)
    {
        let payload_length = header.payload_length;
        assert_eq!(
            read(masked, limit),
            Err(FrameRefusal::TooLarge { header_length: length, payload_length, limit })
        );
        assert_eq!(read(masked, payload_length), whole.map_err(FrameRefusal::Length));
    }
}

/// The header read as the server does it: exactly as many bytes as were asked for, again and again.
fn read_by_need(data: &[u8]) -> Result<HeaderStep, LengthError> {
    let mut have = 0;
    loop {
        match parse_header(&data[..have])? {
            HeaderStep::Need(total) => {
                assert!(total > have && total <= 14, "{have} bytes, {total} needed");
                if total > data.len() {
                    return parse_header(data);
                }
                have = total;
            }
            done @ HeaderStep::Done { length, .. } => {
                assert_eq!(length, have, "more was read than the header has");
                return Ok(done);
            }
        }
    }
}

/// The figure of RFC 6455 section 5.2, field by field.
fn model(data: &[u8]) -> Result<HeaderStep, LengthError> {
    if data.len() < 2 {
        return Ok(HeaderStep::Need(2));
    }
    let masked = data[1] >= 128;
    let (extended, keys) = match data[1] % 128 {
        126 => (2, if masked { 4 } else { 0 }),
        // The length may turn out to be wrong before the key is there.
        127 => (8, 0),
        _ => (0, if masked { 4 } else { 0 }),
    };
    if data.len() < 2 + extended {
        return Ok(HeaderStep::Need(2 + extended + keys));
    }
    let short = u64::from(data[1] % 128);
    let payload_length = data[2..2 + extended].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let (payload_length, minimal_length) = match extended {
        0 => (short, true),
        2 => (payload_length, payload_length > 125),
        _ => (payload_length, payload_length > 65535),
    };
    if payload_length >= 1 << 63 {
        return Err(LengthError);
    }
    let length = 2 + extended + if masked { 4 } else { 0 };
    if data.len() < length {
        return Ok(HeaderStep::Need(length));
    }
    let bit = |number: u8| data[0] >> number & 1 == 1;
    let header = FrameHeader {
        fin: bit(7),
        rsv1: bit(6),
        rsv2: bit(5),
        rsv3: bit(4),
        opcode: data[0] % 16,
        mask: masked.then(|| data[length - 4..length].try_into().expect("four bytes")),
        payload_length,
        minimal_length,
    };
    Ok(HeaderStep::Done { header, length })
}

fn check_encoding(header: FrameHeader, bytes: &[u8]) {
    let encoded = header.encode();
    assert!(encoded.len() <= bytes.len(), "not the shortest form");
    if header.minimal_length {
        assert_eq!(&*encoded, bytes);
    } else {
        let shortest = FrameHeader { minimal_length: true, ..header };
        let step = HeaderStep::Done { header: shortest, length: encoded.len() };
        assert_eq!(parse_header(&encoded), Ok(step));
    }
}

fn check_mask(payload: &[u8], key: [u8; 4]) {
    let model: Vec<u8> = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let mut masked = payload.to_vec();
    apply_mask(&mut masked, key, 0);
    assert_eq!(masked, model, "masked at once");
    let cut = usize::from(key[0]).min(payload.len());
    let mut pieces = payload.to_vec();
    apply_mask(&mut pieces[..cut], key, 0);
    apply_repeated_key(&mut pieces[cut..], &key, cut);
    assert_eq!(pieces, model, "masked in two pieces");
    apply_mask(&mut masked, key, 0);
    assert_eq!(masked, payload, "masked twice");
}

fn check_close(body: &[u8]) {
    let Ok(Some((code, reason))) = close::parse_body(body) else { return };
    assert_eq!((&code.to_be_bytes()[..], reason.as_bytes()), body.split_at(2));
    // What RFC 6455 section 7.4 lets peers send.
    assert!(code >= 1000 && !(1015..3000).contains(&code) && !(1004..=1006).contains(&code), "{code}");
    if code < 5000 {
        assert_eq!(close::encode_body(Some(i64::from(code)), &reason).as_deref(), Ok(body));
    }
}
