//! Frames into messages (RFC 6455 section 5.4): the fragments of a message are put together, the order is checked.
//!
//! Must not import tokio or pyo3.

use thiserror::Error;

use super::frame::opcode;

/// A frame that does not fit the message that is open, or the limit. Each ends the connection: the first three are
/// protocol errors (close code 1002), the last one is 1009. The messages are pywebsocket's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FragmentError {
    /// A continuation frame without an open message.
    #[error("{}", if *.fin {
        "Received a termination frame but fragmentation not started"
    } else {
        "Received an intermediate frame but fragmentation not started"
    })]
    UnexpectedContinuation {
        /// The FIN bit of the frame.
        fin: bool,
    },
    /// A new data message while another is open.
    #[error("{}", if *.fin {
        "Received an unfragmented frame without terminating existing fragmentation"
    } else {
        "New fragmentation started without terminating existing fragmentation"
    })]
    UnfinishedMessage {
        /// The FIN bit of the frame.
        fin: bool,
    },
    /// A control frame without the FIN bit (RFC 6455 section 5.5).
    #[error("Control frames must not be fragmented")]
    FragmentedControl,
    /// The message is, or would become, larger than the limit.
    #[error("Message is larger than the limit")]
    TooLarge,
}

/// A whole message, or a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// The opcode of the message's first frame, never that of a continuation; reserved ones come through.
    pub opcode: u8,
    /// All its payload, as it was on the wire: still compressed when the message is.
    pub payload: Vec<u8>,
}

/// Puts the fragments of one direction of a connection together.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The message whose last fragment is still to come; an empty first fragment opens one, too.
    open: Option<Complete>,
}

impl Assembler {
    /// An assembler with no open message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The opcode of the message that is open.
    #[must_use]
    pub fn open_opcode(&self) -> Option<u8> {
        self.open.as_ref().map(|message| message.opcode)
    }

    /// Takes the next frame; gives the message that it completes, `None` when fragments are still to come.
    ///
    /// A frame that is refused changes nothing. `limit` is the most bytes that a message may have; control frames,
    /// which may come between fragments and do not disturb the open message, do not count. An unfragmented payload and
    /// the first fragment are not copied.
    pub fn push(
        &mut self,
        opcode: u8,
        fin: bool,
        payload: Vec<u8>,
        limit: u64,
    ) -> Result<Option<Complete>, FragmentError> {
        if opcode::is_control(opcode) {
            // RFC 6455 section 5.4 allows them between fragments; pywebsocket refuses them there.
            return if fin {
                Ok(Some(Complete { opcode, payload }))
            } else {
                Err(FragmentError::FragmentedControl)
            };
        }
        let Some(mut message) = self.open.take_if(|_| opcode == opcode::CONTINUATION) else {
            if opcode == opcode::CONTINUATION {
                return Err(FragmentError::UnexpectedContinuation { fin });
            }
            if self.open.is_some() {
                return Err(FragmentError::UnfinishedMessage { fin });
            }
            if exceeds(payload.len(), limit) {
                return Err(FragmentError::TooLarge);
            }
            return Ok(self.keep_or_give(fin, Complete { opcode, payload }));
        };
        if exceeds(message.payload.len().saturating_add(payload.len()), limit) {
            self.open = Some(message);
            return Err(FragmentError::TooLarge);
        }
        message.payload.extend_from_slice(&payload);
        Ok(self.keep_or_give(fin, message))
    }

    fn keep_or_give(&mut self, fin: bool, message: Complete) -> Option<Complete> {
        if fin {
            return Some(message);
        }
        self.open = Some(message);
        None
    }
}

/// Whether a size in bytes is over `limit`.
fn exceeds(size: usize, limit: u64) -> bool {
    u64::try_from(size).is_ok_and(|size| size > limit)
}
