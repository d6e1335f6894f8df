//! The payload of a whole message, from the socket into the Python object that the handler gets.

use std::mem::MaybeUninit;
use std::ptr;

use pyo3::exceptions::PyUnicodeDecodeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::detach::detached;
use super::exceptions::INVALID_UTF8;
use super::socket::{FrameReadError, OpenFrame, READ_AHEAD};
use crate::websocket::frame::opcode;
use crate::websocket::mask::apply_mask;
use crate::websocket::utf8::Utf8Progress;

/// Larger payloads get their memory as their bytes come.
const MAX_DIRECT: u64 = 16 << 20;

/// Whether [`receive`] takes a frame of this size.
#[must_use]
pub fn is_direct(length: u64) -> bool {
    length <= MAX_DIRECT
}

/// The payload of a text or binary frame that is a message of its own, as `str` or `bytes`.
///
/// A small payload is in `buffer` already. A large one is read into the memory of the object that the handler
/// gets, and its mask is taken off there. `read_error` makes an exception of what the socket says.
pub fn receive<'py>(
    py: Python<'py>,
    frame: OpenFrame<'_>,
    buffer: &mut [u8; READ_AHEAD],
    read_error: impl FnOnce(FrameReadError) -> PyErr,
) -> PyResult<Bound<'py, PyAny>> {
    let is_text = frame.header.opcode == opcode::TEXT;
    if frame.is_complete() {
        let payload = &mut buffer[..frame.held];
        if let Some(key) = frame.header.mask {
            apply_mask(payload, key, 0);
        }
        return if is_text { text(py, payload) } else { Ok(PyBytes::new(py, payload).into_any()) };
    }
    let length = frame.header.payload_length;
    let (object, room) = if is_text { new_ascii(py, length)? } else { new_bytes(py, length)? };
    // ASCII, which most text is, needs no decoding. Looking for other bytes is cheap, and done while detached.
    let progress = is_text.then(Utf8Progress::default);
    let filled = detached(py, || {
        let payload = frame.fill(buffer, room, progress)?;
        let is_done = !is_text || payload.is_ascii();
        Ok((&*payload, is_done))
    });
    match filled {
        Err(error) => Err(read_error(error)),
        Ok((_, true)) => Ok(object),
        // What is no ASCII never leaves this function in the object that was made for ASCII.
        Ok((payload, false)) => text(py, payload),
    }
}

/// `bytes.decode('utf-8')`: validated and built in one go. Bytes that are no UTF-8 are `InvalidUTF8Exception`.
pub fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let length = ffi::Py_ssize_t::try_from(bytes.len())?;
    // SAFETY: the pointer and the length are those of a slice; the function gives a new reference or null with an
    // exception set.
    let decoded = unsafe {
        let object = ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), length, ptr::null());
        Bound::from_owned_ptr_or_err(py, object)
    };
    decoded.map_err(|error| invalid_utf8(py, error))
}

/// A decoding error as the exception that handlers know; others as they are.
pub fn invalid_utf8(py: Python<'_>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyUnicodeDecodeError>(py) {
        INVALID_UTF8.error(py, error.value(py))
    } else {
        error
    }
}

/// A new object, and its memory.
type Unfilled<'py, 'a> = (Bound<'py, PyAny>, &'a mut [MaybeUninit<u8>]);

/// `bytes` of this length, to be filled before anybody sees it.
fn new_bytes<'a>(py: Python<'_>, length: u64) -> PyResult<Unfilled<'_, 'a>> {
    let size = usize::try_from(length)?;
    // SAFETY: with a null pointer the object has memory of that size that nobody has written; it does not move, and
    // lives as long as the object, which the caller keeps while it uses the slice.
    unsafe {
        let object = ffi::PyBytes_FromStringAndSize(ptr::null(), ffi::Py_ssize_t::try_from(size)?);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        let data = ffi::PyBytes_AsString(object.as_ptr()).cast::<MaybeUninit<u8>>();
        Ok((object, std::slice::from_raw_parts_mut(data, size)))
    }
}

/// `str` of so many ASCII characters, to be filled before anybody sees it.
fn new_ascii<'a>(py: Python<'_>, length: u64) -> PyResult<Unfilled<'_, 'a>> {
    let size = usize::try_from(length)?;
    // SAFETY: as in `new_bytes`; a string made for characters up to 127 has one byte for each.
    unsafe {
        let object = ffi::PyUnicode_New(ffi::Py_ssize_t::try_from(size)?, 127);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        let data = ffi::PyUnicode_DATA(object.as_ptr()).cast::<MaybeUninit<u8>>();
        Ok((object, std::slice::from_raw_parts_mut(data, size)))
    }
}
