//! What a stream knows of what it receives.

use pyo3::prelude::*;

use crate::websocket::message::Assembler;
use crate::wire::limits::Share;
use crate::wire::socket::RawFrame;

/// What is known of the message that is being received.
#[derive(Default)]
pub(super) struct Receiving {
    pub(super) assembler: Assembler,
    /// The open message, counted.
    pub(super) share: Share,
    pub(super) last_opcode: Option<u8>,
}

/// What comes next.
pub(super) enum Next<'py> {
    /// A frame that has to go through filters, or together with others, or that is a control frame.
    Frame(RawFrame),
    /// A message as the handler gets it.
    Message(Bound<'py, PyAny>),
}

/// What a frame was good for.
pub(super) enum Taken<'py> {
    /// It was a control frame, or part of a message.
    Nothing,
    /// It completed a message.
    Message(Bound<'py, PyAny>),
    /// It was a close frame.
    Close,
}
