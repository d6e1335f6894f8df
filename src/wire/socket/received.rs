//! What reading from a connection's socket gives: a frame, or the reason why there is none.

use std::io;

use crate::websocket::frame::FrameHeader;
use crate::websocket::memory::NoMemory;
use crate::websocket::reader::FrameRefusal;
use crate::wire::limits::{Share, TotalExceeded};

/// Why a frame could not be read.
#[derive(Debug)]
pub enum FrameReadError {
    /// The peer closed the connection with this many bytes still wanted.
    Eof {
        /// Bytes that were wanted.
        wanted: u64,
    },
    /// The system refused with this many bytes still wanted.
    Io {
        /// Bytes that were wanted.
        wanted: u64,
        /// What the system said.
        source: io::Error,
    },
    /// It is none that is taken.
    Refused(FrameRefusal),
    /// The payload is text that is no UTF-8; this is what had come of it.
    NotUtf8(Vec<u8>),
    /// There is no memory for the payload.
    NoMemory,
    /// The messages of all connections would be larger than they may be together.
    TotalExceeded(TotalExceeded),
}

impl From<FrameRefusal> for FrameReadError {
    fn from(refusal: FrameRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<NoMemory> for FrameReadError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

impl From<TotalExceeded> for FrameReadError {
    fn from(error: TotalExceeded) -> Self {
        Self::TotalExceeded(error)
    }
}

/// A frame as it came from the wire, its payload unmasked.
pub struct RawFrame {
    /// The header.
    pub header: FrameHeader,
    /// The payload.
    pub payload: Vec<u8>,
    /// The payload, counted.
    pub share: Share,
}
