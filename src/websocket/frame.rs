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
pub fn mask_bit(bytes: &[u8]) -> Option<bool> {
    bytes.get(1).map(|second| second & MASK != 0)
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
