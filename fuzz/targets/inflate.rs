//! permessage-deflate: streams that are inflated and compressed.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use wshost::websocket::deflate::{InflateError, Inflater, MAX_WINDOW_BITS, MessageDeflater, MessageInflater};

use super::input::Input;

/// Inputs that inflate to more are not followed: it takes long, and finds nothing that smaller ones do not.
const LARGEST: u64 = 1 << 16;
/// So much more than the limit may be in use for a moment.
const SLACK: usize = 1 << 18;

/// Takes the first byte for the choices, and the rest once for something compressed and once for a message.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    inflates_within_limits(input.0);
    inflates_in_pieces(input.0, choice);
    comes_back(input.0, choice);
}

fn inflates_within_limits(payload: &[u8]) {
    let inflate = |limit| MessageInflater::new(MAX_WINDOW_BITS).inflate(payload, limit);
    let found = inflate(LARGEST);
    let Ok(message) = found else { return };
    assert!(message.capacity() <= message.len().saturating_mul(3) + SLACK, "{} bytes", message.capacity());
    assert_eq!(inflate(message.len() as u64).as_ref(), Ok(&message), "a limit that just fits");
    if let Some(less) = (message.len() as u64).checked_sub(1) {
        let mut inflater = MessageInflater::default();
        assert_eq!(inflater.inflate(payload, less), Err(InflateError::TooLarge));
        assert_eq!(inflater.inflate(b"", LARGEST), Err(InflateError::TooLarge), "the state is lost");
    }
    if let Some(model) = other_implementation(payload) {
        assert!(
            message.starts_with(&model) || model.starts_with(&message),
            "another inflater's text differs"
        );
        // With a final block and nothing behind it, both must have come to the end.
        assert_eq!(message.len(), model.len());
    }
}

/// What `miniz_oxide` makes of the message, if it is one stream that ends with the message.
fn other_implementation(payload: &[u8]) -> Option<Vec<u8>> {
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut output = vec![0; usize::try_from(LARGEST).ok()? + 1];
    let mut state = Box::<DecompressorOxide>::default();
    // More input is promised: what follows the message is the next message.
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | 2;
    let (status, read, written) = decompress(&mut state, &input, &mut output, 0, flags);
    output.truncate(written);
    (status == TINFLStatus::NeedsMoreInput && read == input.len()).then_some(output)
}

/// The same bytes in pieces, with room for little output at a time, give the same text up to the same error.
fn inflates_in_pieces(payload: &[u8], choice: u8) {
    let limit = usize::try_from(LARGEST).unwrap_or(usize::MAX);
    let mut whole = Inflater::new(MAX_WINDOW_BITS);
    whole.append(payload).expect("memory");
    let expected = whole.decompress(Some(limit));
    if expected.as_ref().is_ok_and(|text| text.len() == limit) {
        return;
    }
    let mut inflater = Inflater::new(MAX_WINDOW_BITS);
    let mut found = Vec::new();
    let room = usize::from(choice) * 16 + 1;
    for piece in Input(payload).pieces(choice) {
        inflater.append(piece).expect("memory");
        loop {
            match inflater.decompress(Some(room)) {
                Ok(output) => {
                    assert!(output.len() <= room, "{} bytes where {room} were asked for", output.len());
                    let is_all = output.len() < room;
                    found.extend(output);
                    if is_all {
                        break;
                    }
                }
                Err(error) => {
                    // Not with the same words: zlib-rs forgets the reason where it is in a hurry.
                    assert!(matches!(expected, Err(InflateError::Corrupt(_))), "{error} in pieces only");
                    assert!(inflater.decompress(Some(room)).is_err(), "the state is lost");
                    return;
                }
            }
        }
    }
    assert!(expected.as_deref() == Ok(&found[..]), "at once it is not what it is in pieces of {room} bytes");
}

/// What is compressed, in whatever fragments, is what is inflated; a second message too, with the window kept.
fn comes_back(message: &[u8], choice: u8) {
    let (window_bits, forgets, bfinal) = (8 + choice % 8, choice & 8 != 0, choice & 16 != 0);
    let mut deflater = MessageDeflater::new(window_bits, forgets);
    let mut inflater = MessageInflater::new(window_bits);
    for _ in 0..2 {
        let mut payload = Vec::new();
        let pieces = if bfinal { vec![message] } else { Input(message).pieces(choice | 0x40) };
        for piece in &pieces {
            payload.extend(deflater.filter(piece, false, bfinal).expect("memory"));
        }
        if !bfinal {
            payload.extend(deflater.filter(b"", true, false).expect("memory"));
        }
        let limit = message.len() as u64;
        let found = inflater.inflate(&payload, limit);
        assert!(found.as_deref() == Ok(message), "window {window_bits}: not what was compressed");
    }
}
