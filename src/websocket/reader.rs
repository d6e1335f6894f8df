//! Which frames of a peer are taken: bytes in, a header or the number of missing bytes out. No socket is named here, so
//! that every connection is read by the same rules.
//!
//! Must not import tokio or pyo3.

use thiserror::Error;

use crate::websocket::frame::{HeaderStep, LengthError, mask_bit, parse_header};

/// What a frame must be like to be taken.
#[derive(Debug, Clone, Copy)]
pub struct FrameReader {
    /// Whether it must be masked, and must not be otherwise (RFC 6455 section 5.1: a client's must).
    pub masked: bool,
    /// The largest payload, in bytes.
    pub limit: u64,
}

/// Why a frame is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameRefusal {
    /// It is masked and must not be, or the other way round.
    // pywebsocket: so it spells it.
    #[error("Mask bit on the received frame did'nt match masking configuration for received frames")]
    WrongMasking,
    /// The length field is 2^63 or more.
    #[error(transparent)]
    Length(#[from] LengthError),
    /// The payload is larger than the limit.
    #[error("the payload of {payload_length} bytes is larger than {limit}")]
    TooLarge {
        /// Bytes of the header.
        header_length: usize,
        /// Bytes of payload after it.
        payload_length: u64,
        /// How many there may be.
        limit: u64,
    },
}

impl FrameRefusal {
    /// How many bytes it took to see that. pywebsocket reads no further.
    #[must_use]
    pub const fn bytes_taken(&self) -> usize {
        match self {
            Self::WrongMasking => 2,
            // Where a length of 8 bytes ends.
            Self::Length(_) => 10,
            Self::TooLarge { header_length, .. } => *header_length,
        }
    }
}

impl FrameReader {
    /// Looks at the frame at the start of `bytes`, as [`parse_header`] does. What makes a frame one that is not taken is
    /// said as soon as it can be seen, in the order of the bytes.
    pub fn read(self, bytes: &[u8]) -> Result<HeaderStep, FrameRefusal> {
        if mask_bit(bytes).is_some_and(|masked| masked != self.masked) {
            return Err(FrameRefusal::WrongMasking);
        }
        let step = parse_header(bytes)?;
        if let HeaderStep::Done { header, length } = step
            && header.payload_length > self.limit
        {
            let payload_length = header.payload_length;
            let limit = self.limit;
            return Err(FrameRefusal::TooLarge { header_length: length, payload_length, limit });
        }
        Ok(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENTS: FrameReader = FrameReader { masked: true, limit: 1000 };

    #[test]
    fn a_frame_is_refused_by_the_first_byte_that_shows_why() {
        let long = [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0];
        let large = [0x82, 0xfe, 0x03, 0xe9, 1, 2, 3, 4];
        let plain = [0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0];
        let too_large = FrameRefusal::TooLarge { header_length: 8, payload_length: 1001, limit: 1000 };
        for (bytes, refusal) in [
            (&long[..], FrameRefusal::Length(LengthError)),
            (&large[..], too_large),
            (&plain[..], FrameRefusal::WrongMasking),
        ] {
            let taken = refusal.bytes_taken();
            assert_eq!(CLIENTS.read(&bytes[..taken]), Err(refusal), "{bytes:02x?}");
            assert_eq!(CLIENTS.read(bytes), Err(refusal), "{bytes:02x?}");
            let before = CLIENTS.read(&bytes[..taken - 1]);
            assert!(matches!(before, Ok(HeaderStep::Need(_))), "{bytes:02x?} gave {before:?}");
        }
    }

    #[test]
    fn a_frame_is_taken_up_to_the_limit() {
        let bytes = [0x82, 0xfe, 0x03, 0xe8, 1, 2, 3, 4];
        assert_eq!(CLIENTS.read(&bytes), Ok(parse_header(&bytes).unwrap()));
        let servers = FrameReader { masked: false, limit: 5 };
        assert_eq!(servers.read(&[0x81, 0x05]), Ok(parse_header(&[0x81, 0x05]).unwrap()));
        assert_eq!(servers.read(&[0x81, 0x85]), Err(FrameRefusal::WrongMasking));
    }
}
