//! The frame header of RFC 6455 section 5.2: bytes in, fields out, and back. Payloads are not touched here.
//!
//! Must not import tokio or pyo3.
//!
//! Nothing is refused that handlers of pywebsocket send on purpose: reserved opcodes, reserved bits, control frames
//! that are too long. What a frame may be is decided by the caller.

use std::ops::Deref;

use thiserror::Error;

/// The opcodes of RFC 6455 section 5.2.
pub mod opcode {
    /// A further fragment of the message that is open.
    pub const CONTINUATION: u8 = 0x0;
    /// A text message, or its first fragment.
    pub const TEXT: u8 = 0x1;
    /// A binary message, or its first fragment.
    pub const BINARY: u8 = 0x2;
    /// A close frame.
    pub const CLOSE: u8 = 0x8;
    /// A ping.
    pub const PING: u8 = 0x9;
    /// A pong.
    pub const PONG: u8 = 0xa;

    /// Whether `opcode` is one of the control opcodes 0x8 to 0xF (RFC 6455 section 5.5), reserved ones included.
    #[must_use]
    pub const fn is_control(opcode: u8) -> bool {
        opcode >> 3 == 1
    }
}

/// Bit 7 of the first byte: last fragment.
const FIN: u8 = 0x80;
/// Bit 6 of the first byte.
const RSV1: u8 = 0x40;
/// Bit 5 of the first byte.
const RSV2: u8 = 0x20;
/// Bit 4 of the first byte.
const RSV3: u8 = 0x10;
/// Bit 7 of the second byte: a masking key follows the length.
const MASK: u8 = 0x80;
/// Value of the 7 length bits that announces a length of 2 bytes.
const LENGTH_16: u8 = 126;
/// Value of the 7 length bits that announces a length of 8 bytes.
const LENGTH_64: u8 = 127;
/// The longest header: 2 bytes, 8 bytes of length, 4 bytes of masking key.
const MAX_HEADER: usize = 14;

/// Everything of a frame but its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// This frame ends its message.
    pub fin: bool,
    /// First reserved bit; permessage-deflate marks compressed messages with it (RFC 7692 section 6).
    pub rsv1: bool,
    /// Second reserved bit.
    pub rsv2: bool,
    /// Third reserved bit.
    pub rsv3: bool,
    /// Any of 0..=15; see [`opcode`].
    pub opcode: u8,
    /// The masking key, when the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload that follow the header; less than 2^63.
    pub payload_length: u64,
    /// Whether the length came in the fewest bytes, as RFC 6455 section 5.2 demands.
    /// pywebsocket only warns when it did not. [`FrameHeader::encode`] ignores it and always writes the shortest form.
    pub minimal_length: bool,
}

/// A length of 2^63 or more, whose most significant bit RFC 6455 section 5.2 demands to be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Extended payload length >= 2^63")]
pub struct LengthError;

/// How far [`parse_header`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderStep {
    /// Call again with this many bytes in total. Never more than the header surely has, so a reader that reads exactly
    /// this many takes nothing of what follows the header.
    Need(usize),
    /// The header is complete.
    Done {
        /// Its fields.
        header: FrameHeader,
        /// The bytes it took from the start of the input.
        length: usize,
    },
}

/// Whether the frame that starts with `bytes` is masked; `None` when fewer than two bytes are there.
///
/// pywebsocket refuses a frame for its mask bit before it waits for the rest of the header; with this a caller can too.
#[must_use]
pub(super) fn mask_bit(bytes: &[u8]) -> Option<bool> {
    bytes.get(1).map(|second| second & MASK != 0)
}

/// How many bytes are missing in the field of a header in which `bytes` ends; `total` is what [`HeaderStep::Need`] says.
///
/// pywebsocket reads the first two bytes one by one, then the length, then the key, and an end of the stream is
/// an error that says how many bytes it was waiting for.
#[must_use]
pub fn missing_in_field(bytes: &[u8], total: usize) -> usize {
    let length = bytes.len();
    let end = match bytes.get(1).map(|second| second & !MASK) {
        None => length + 1,
        Some(LENGTH_16) if length < 4 => 4,
        Some(LENGTH_64) if length < 10 => 10,
        Some(_) => total,
    };
    end - length
}

/// Parses the frame header at the start of `bytes`; what follows it is ignored.
///
/// The length is judged as soon as it is there, before the masking key is, as pywebsocket does.
pub fn parse_header(bytes: &[u8]) -> Result<HeaderStep, LengthError> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(HeaderStep::Need(2));
    };
    let mask_size = if second & MASK == 0 { 0 } else { 4 };
    let short_length = second & !MASK;
    let (length_size, payload_length, minimal_length) = match short_length {
        LENGTH_16 => match rest.first_chunk() {
            Some(length) => {
                let length = u64::from(u16::from_be_bytes(*length));
                (2, length, length >= u64::from(LENGTH_16))
            }
            None => return Ok(HeaderStep::Need(4 + mask_size)),
        },
        LENGTH_64 => match rest.first_chunk() {
            Some(length) => {
                let length = u64::from_be_bytes(*length);
                (8, length, length > u64::from(u16::MAX))
            }
            None => return Ok(HeaderStep::Need(10)),
        },
        length => (0, u64::from(length), true),
    };
    if payload_length >> 63 != 0 {
        return Err(LengthError);
    }
    let length = 2 + length_size + mask_size;
    let mask = if mask_size == 0 {
        None
    } else {
        match rest[length_size..].first_chunk() {
            Some(key) => Some(*key),
            None => return Ok(HeaderStep::Need(length)),
        }
    };
    let header = FrameHeader {
        fin: first & FIN != 0,
        rsv1: first & RSV1 != 0,
        rsv2: first & RSV2 != 0,
        rsv3: first & RSV3 != 0,
        opcode: first & 0x0f,
        mask,
        payload_length,
        minimal_length,
    };
    Ok(HeaderStep::Done { header, length })
}

/// An encoded header: at most 14 bytes, without a heap allocation. Derefs to the bytes.
#[derive(Debug, Clone, Copy)]
pub struct ArrayHeader {
    bytes: [u8; MAX_HEADER],
    length: usize,
}

impl ArrayHeader {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

impl Deref for ArrayHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl FrameHeader {
    /// The header's bytes, the masking key included, with the length in its shortest form.
    /// Of `opcode` the lower four bits are used.
    #[must_use]
    pub fn encode(&self) -> ArrayHeader {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let first = bit(self.fin, FIN)
            | bit(self.rsv1, RSV1)
            | bit(self.rsv2, RSV2)
            | bit(self.rsv3, RSV3)
            | (self.opcode & 0x0f);
        let mask = bit(self.mask.is_some(), MASK);

        let mut encoded = ArrayHeader { bytes: [0; MAX_HEADER], length: 0 };
        match (u8::try_from(self.payload_length), u16::try_from(self.payload_length)) {
            (Ok(length), _) if length < LENGTH_16 => encoded.push(&[first, mask | length]),
            (_, Ok(length)) => {
                encoded.push(&[first, mask | LENGTH_16]);
                encoded.push(&length.to_be_bytes());
            }
            _ => {
                encoded.push(&[first, mask | LENGTH_64]);
                encoded.push(&self.payload_length.to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            encoded.push(&key);
        }
        encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::testing::XorShift;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn header(fin: bool, opcode: u8, mask: Option<[u8; 4]>, payload_length: u64) -> FrameHeader {
        FrameHeader {
            fin,
            rsv1: false,
            rsv2: false,
            rsv3: false,
            opcode,
            mask,
            payload_length,
            minimal_length: true,
        }
    }

    fn done(bytes: &[u8]) -> (FrameHeader, usize) {
        match parse_header(bytes) {
            Ok(HeaderStep::Done { header, length }) => (header, length),
            other => panic!("{bytes:02x?} gave {other:?}"),
        }
    }

    #[test]
    fn examples_of_rfc_6455_section_5_7() {
        let cases: [(&[u8], FrameHeader); 8] = [
            (&[0x81, 0x05], header(true, opcode::TEXT, None, 5)),
            (&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d], header(true, opcode::TEXT, Some(KEY), 5)),
            (&[0x01, 0x03], header(false, opcode::TEXT, None, 3)),
            (&[0x80, 0x02], header(true, opcode::CONTINUATION, None, 2)),
            (&[0x89, 0x05], header(true, opcode::PING, None, 5)),
            (&[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d], header(true, opcode::PONG, Some(KEY), 5)),
            (&[0x82, 0x7e, 0x01, 0x00], header(true, opcode::BINARY, None, 256)),
            (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], header(true, opcode::BINARY, None, 65536)),
        ];
        for (bytes, header) in cases {
            assert_eq!(&*header.encode(), bytes);
            assert_eq!(done(bytes), (header, bytes.len()));
        }
    }

    #[test]
    fn every_length_boundary_takes_the_shortest_form() {
        let cases: [(u64, &[u8]); 9] = [
            (0, &[0]),
            (125, &[125]),
            (126, &[126, 0x00, 0x7e]),
            (255, &[126, 0x00, 0xff]),
            (256, &[126, 0x01, 0x00]),
            (65535, &[126, 0xff, 0xff]),
            (65536, &[127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (1 << 32, &[127, 0, 0, 0, 1, 0, 0, 0, 0]),
            ((1 << 63) - 1, &[127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ];
        for (payload_length, length_bytes) in cases {
            let plain = header(true, opcode::BINARY, None, payload_length);
            let expected = [&[0x82], length_bytes].concat();
            assert_eq!(*plain.encode(), *expected);
            assert_eq!(done(&expected), (plain, expected.len()));

            let masked = header(true, opcode::BINARY, Some(KEY), payload_length);
            let mut expected = [&expected[..], &KEY].concat();
            expected[1] |= 0x80;
            assert_eq!(*masked.encode(), *expected);
            assert_eq!(done(&expected), (masked, expected.len()));
        }
    }

    #[test]
    fn lengths_that_are_not_minimal_are_marked() {
        let cases: [(&[u8], u64, bool); 6] = [
            (&[0x82, 126, 0, 0], 0, false),
            (&[0x82, 126, 0, 125], 125, false),
            (&[0x82, 126, 0, 126], 126, true),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 5], 5, false),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 65535, false),
            (&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], 65536, true),
        ];
        for (bytes, payload_length, minimal) in cases {
            let (header, length) = done(bytes);
            assert_eq!(
                (header.payload_length, header.minimal_length, length),
                (payload_length, minimal, bytes.len())
            );
        }
    }

    #[test]
    fn length_of_2_to_the_63_is_refused_before_the_key_is_there() {
        for second in [0x7f, 0xff] {
            let bytes = [0x82, second, 0x80, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(parse_header(&bytes), Err(LengthError));
            assert_eq!(parse_header(&bytes[..9]), Ok(HeaderStep::Need(10)));
        }
    }

    #[test]
    fn need_at_every_split_never_asks_for_more_than_the_header_has() {
        let steps = |bytes: &[u8]| -> Vec<usize> {
            (0..bytes.len())
                .map(|end| match parse_header(&bytes[..end]) {
                    Ok(HeaderStep::Need(total)) => total,
                    other => panic!("{:02x?} gave {other:?}", &bytes[..end]),
                })
                .collect()
        };
        assert_eq!(steps(&[0x81, 0x05]), [2, 2]);
        assert_eq!(steps(&[0x81, 0x85, 1, 2, 3, 4]), [2, 2, 6, 6, 6, 6]);
        assert_eq!(steps(&[0x81, 0x7e, 1, 0]), [2, 2, 4, 4]);
        assert_eq!(steps(&[0x81, 0xfe, 1, 0, 1, 2, 3, 4]), [2, 2, 8, 8, 8, 8, 8, 8]);
        assert_eq!(steps(&[0x81, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]), [2, 2, 10, 10, 10, 10, 10, 10, 10, 10]);
        assert_eq!(
            steps(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]),
            [2, 2, 10, 10, 10, 10, 10, 10, 10, 10, 14, 14, 14, 14]
        );
    }

    #[test]
    fn missing_bytes_are_those_of_one_field() {
        let missing = |bytes: &[u8]| -> Vec<usize> {
            let need = |end: usize| match parse_header(&bytes[..end]) {
                Ok(HeaderStep::Need(total)) => missing_in_field(&bytes[..end], total),
                other => panic!("{:02x?} gave {other:?}", &bytes[..end]),
            };
            (0..bytes.len()).map(need).collect()
        };
        assert_eq!(missing(&[0x81, 0x85, 1, 2, 3, 4]), [1, 1, 4, 3, 2, 1]);
        assert_eq!(missing(&[0x81, 0xfe, 1, 0, 1, 2, 3, 4]), [1, 1, 2, 1, 4, 3, 2, 1]);
        assert_eq!(
            missing(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]),
            [1, 1, 8, 7, 6, 5, 4, 3, 2, 1, 4, 3, 2, 1]
        );
    }

    #[test]
    fn every_first_byte_goes_both_ways() {
        for first in 0..=0xff {
            let (header, length) = done(&[first, 0x00]);
            assert_eq!(length, 2);
            let bits = [header.fin, header.rsv1, header.rsv2, header.rsv3];
            let bits = bits.iter().fold(0, |value, bit| value << 1 | u8::from(*bit));
            assert_eq!(bits << 4 | header.opcode, first);
            assert_eq!(*header.encode(), [first, 0x00]);
        }
    }

    #[test]
    fn only_the_opcodes_from_8_to_15_are_control() {
        let control: Vec<u8> = (0..=15).filter(|code| opcode::is_control(*code)).collect();
        assert_eq!(control, [8, 9, 10, 11, 12, 13, 14, 15]);
    }

    #[test]
    fn mask_bit_is_known_from_the_second_byte_on() {
        assert_eq!(mask_bit(&[]), None);
        assert_eq!(mask_bit(&[0xff]), None);
        assert_eq!(mask_bit(&[0x81, 0x7f]), Some(false));
        assert_eq!(mask_bit(&[0x01, 0x80]), Some(true));
    }

    #[test]
    fn any_header_survives_the_wire_and_leaves_what_follows_alone() {
        let mut random = XorShift::new(1);
        for _ in 0..2000 {
            let header = FrameHeader {
                fin: random.coin(),
                rsv1: random.coin(),
                rsv2: random.coin(),
                rsv3: random.coin(),
                opcode: u8::try_from(random.below(16)).unwrap(),
                mask: random.coin().then(|| random.bytes(4, 256).try_into().unwrap()),
                payload_length: (random.next() >> 1) >> random.below(63),
                minimal_length: true,
            };
            let mut wire = header.encode().to_vec();
            let length = wire.len();
            wire.extend(random.bytes(20, 256));
            assert_eq!(done(&wire), (header, length));
        }
    }
}
