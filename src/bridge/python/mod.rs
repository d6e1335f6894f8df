//! Python itself: what the rest of `bridge` stands on.
//!
//! - [`interpreter`] – starts Python inside the binary
//! - [`detach`] – waiting without the GIL, and the gate before it; [`interruptible`] – waiting that Ctrl-C ends
//! - `last_call` – calls of Python code that the end of the interpreter may meet
//! - [`thread`] – a handler's thread for Python; [`logging`] – log records; [`exceptions`] – classes that Python defines
//!   and Rust raises
//! - `cached` – objects that are made once; [`convert`] – bytes; `refusals` – what is too large to be received

pub(crate) mod cached;
pub mod convert;
pub mod detach;
pub mod exceptions;
pub mod interpreter;
pub mod interruptible;
pub(crate) mod last_call;
pub mod logging;
pub(crate) mod refusals;
pub(crate) mod thread;
