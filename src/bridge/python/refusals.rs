//! What cannot be received for its size: `MessageTooBigException`, close code 1009.
//!
//! A message for which there is no memory is one, too. RFC 6455 section 7.4.1 has 1009 for "a message that is too big for
//! it to process", and handlers that know what to do with a large message know what to do with that.

use std::cell::Cell;
use std::thread;

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;

use crate::bridge::python::exceptions::MESSAGE_TOO_BIG;
use crate::bridge::python::logging::{Level, Logger};
use crate::websocket::deflate::InflateError;
use crate::websocket::memory::NoMemory;
use crate::wire::limits::{Limits, TotalExceeded};

static LOG: Logger = Logger::new("pywebsocket3.stream.Stream");

thread_local! {
    /// Whether the log has been told of a message that was too big for this thread's connection.
    static HAS_TOLD: Cell<bool> = const { Cell::new(false) };
}

/// A message that is larger than `limit`. The first one of a connection is a record of the log: its handler may go on
/// after each.
pub fn too_big(py: Python<'_>, limit: u64) -> PyErr {
    let text = format!("Message is larger than {limit} bytes (--max-message-size)");
    if HAS_TOLD.replace(true) { MESSAGE_TOO_BIG.error(py, text) } else { refused(py, &text) }
}

/// The message of a connection that has no room among those of all others. It is one record of the log.
pub fn total_exceeded(py: Python<'_>, error: TotalExceeded) -> PyErr {
    let limit = error.limit;
    refused(
        py,
        &format!(
            "All messages that are being received would exceed {limit} bytes (--max-total-message-size)"
        ),
    )
}

/// A message that there is no memory for. It is one record of the log.
pub fn no_memory(py: Python<'_>) -> PyErr {
    let error = refused(py, "There is no memory for a message");
    error.set_cause(py, Some(memory_error()));
    error
}

fn refused(py: Python<'_>, text: &str) -> PyErr {
    LOG.log(py, Level::Warning, || {
        // With the number and the resource of the connection.
        let thread = thread::current();
        format!("{}: {text}; it is closed with 1009", thread.name().unwrap_or("a connection"))
    });
    MESSAGE_TOO_BIG.error(py, text)
}

/// `MemoryError`, which is what a handler gets that asks for too much itself.
pub fn memory_error() -> PyErr {
    PyMemoryError::new_err(())
}

/// What an error means while a message is received: where there is no memory the message is too big.
pub fn received(py: Python<'_>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyMemoryError>(py) { no_memory(py) } else { error }
}

/// Why a message was not inflated.
#[derive(Debug)]
pub enum NotInflated {
    /// Its bytes, its size or the memory.
    Inflate(InflateError),
    /// It and those of all others are too large.
    TotalExceeded(TotalExceeded),
}

impl From<InflateError> for NotInflated {
    fn from(error: InflateError) -> Self {
        Self::Inflate(error)
    }
}

impl From<NoMemory> for NotInflated {
    fn from(error: NoMemory) -> Self {
        Self::Inflate(error.into())
    }
}

impl From<TotalExceeded> for NotInflated {
    fn from(error: TotalExceeded) -> Self {
        Self::TotalExceeded(error)
    }
}

/// What an error of inflating is to Python.
pub fn inflating(py: Python<'_>, error: &NotInflated, limits: &Limits) -> PyErr {
    match error {
        NotInflated::Inflate(error) => inflate_error(py, error, limits),
        NotInflated::TotalExceeded(error) => total_exceeded(py, *error),
    }
}

/// What an inflate error is to Python: `zlib.error`, or the exception of what is larger than `limits` allow.
pub fn inflate_error(py: Python<'_>, error: &InflateError, limits: &Limits) -> PyErr {
    match error {
        InflateError::TooLarge => too_big(py, limits.max_message_size()),
        InflateError::NoMemory(NoMemory) => no_memory(py),
        InflateError::Corrupt(text) => {
            let class = py.import("zlib").and_then(|zlib| zlib.getattr("error"));
            match class.and_then(|class| class.call1((text,))) {
                Ok(value) => PyErr::from_value(value),
                Err(error) => error,
            }
        }
    }
}
