//! The payload of a whole message, from the socket into the Python object that the handler gets.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::bridge::api::deflation::{Deflation, Inflated, InflatingMessage};
use crate::bridge::python::convert::message;
use crate::bridge::python::detach::detached;
use crate::bridge::python::refusals::{self, NotInflated};
use crate::websocket::frame::opcode;
use crate::websocket::mask::apply_mask;
use crate::websocket::memory::{self, NoMemory};
use crate::websocket::utf8::Utf8Progress;
use crate::wire::limits::{Limits, Share};
use crate::wire::socket::{FrameReadError, OpenFrame, READ_AHEAD};

/// Larger payloads get their memory as their bytes come.
const MAX_DIRECT: usize = 16 << 20;

/// What an inflated message grows by at least.
const MIN_GROWTH: usize = 1 << 20;

/// The payload of a text or binary frame that is a message of its own, as `str` or `bytes`, and what of it is counted.
///
/// A small payload is in `buffer` already. A large one is read into the memory of the object that the handler
/// gets, and its mask is taken off there. `read_error` makes an exception of what the socket says.
pub fn receive<'py>(
    py: Python<'py>,
    mut frame: OpenFrame<'_>,
    buffer: &mut [u8; READ_AHEAD],
    read_error: impl FnOnce(FrameReadError) -> PyErr,
) -> PyResult<(Bound<'py, PyAny>, Share)> {
    let is_text = frame.header.opcode == opcode::TEXT;
    if frame.is_complete() {
        let payload = &mut buffer[..frame.held];
        if let Some(key) = frame.header.mask {
            apply_mask(payload, key, 0);
        }
        return Ok((message(py, payload, is_text)?, Share::default()));
    }
    let mut object = Growing::new(py, is_text);
    let filled = fill(&mut object, &mut frame, buffer);
    let share = std::mem::take(&mut frame.share);
    // Exceptions are objects, and Python code may run where they are made.
    drop(frame);
    match filled {
        Ok(()) => Ok((object.finish()?, share)),
        Err(error) => Err(read_error(error)),
    }
}

/// Reads what is to come of a frame into `object`; of a text, no more than it takes to see that it is no UTF-8.
fn fill(
    object: &mut Growing<'_>,
    frame: &mut OpenFrame<'_>,
    buffer: &[u8; READ_AHEAD],
) -> Result<(), FrameReadError> {
    let length = usize::try_from(frame.header.payload_length).unwrap_or(usize::MAX);
    // ASCII, which most text is, needs no decoding. Looking for other bytes is cheap, and done while detached.
    let mut progress = object.is_text.then(Utf8Progress::default);
    while object.filled < length {
        let size = (length - object.filled).min(MAX_DIRECT.max(object.filled));
        object.grow(size).inspect_err(|_| frame.refuse())?;
        let py = object.py;
        let room = object.room();
        let (count, is_ascii, is_good) = detached(py, || {
            let (piece, is_good) = frame.fill(buffer, room, &mut progress)?;
            Ok::<_, FrameReadError>((piece.len(), progress.is_none() || piece.is_ascii(), is_good))
        })?;
        object.add_filled(count, is_ascii);
        if !is_good {
            break;
        }
    }
    Ok(())
}

/// The payload of a compressed frame that is a message of its own, as [`receive`] gives others.
pub(crate) fn receive_deflated<'py>(
    py: Python<'py>,
    frame: OpenFrame<'_>,
    buffer: &[u8; READ_AHEAD],
    deflation: &Deflation,
    is_text: bool,
    read_error: impl FnOnce(FrameReadError) -> PyErr,
) -> PyResult<(Bound<'py, PyAny>, Share)> {
    let mut payload = Vec::new();
    let mut share = Share::default();
    // Most messages are small, and done while detached once.
    let limits = frame.limits();
    let begun = detached(py, || {
        let raw = frame.into_raw(buffer, None)?;
        (payload, share) = (raw.payload, raw.share);
        Ok(deflation.begin(&payload, &mut share, limits))
    });
    let inflated = inflate_rest(py, begun.map_err(read_error)?, is_text, &mut share, limits)?;
    Ok((inflated, share))
}

/// The same for a payload that is here, which `share` counts.
pub(crate) fn inflate<'py>(
    py: Python<'py>,
    deflation: &Deflation,
    payload: &[u8],
    is_text: bool,
    share: &mut Share,
    limits: &Arc<Limits>,
) -> PyResult<Bound<'py, PyAny>> {
    let begun = detached(py, || deflation.begin(payload, share, limits));
    inflate_rest(py, begun, is_text, share, limits)
}

fn inflate_rest<'py>(
    py: Python<'py>,
    begun: Result<Inflated<'_>, NotInflated>,
    is_text: bool,
    share: &mut Share,
    limits: &Limits,
) -> PyResult<Bound<'py, PyAny>> {
    match begun.map_err(|error| refusals::inflating(py, &error, limits))? {
        Inflated::Whole(bytes) => message(py, &bytes, is_text),
        Inflated::Begun(inflating) => {
            let mut object = Growing::new(py, is_text);
            let inflated = inflate_into(&mut object, inflating, share);
            inflated.map_err(|error| refusals::inflating(py, &error, limits))?;
            object.finish()
        }
    }
}

fn inflate_into(
    object: &mut Growing<'_>,
    mut message: InflatingMessage<'_>,
    share: &mut Share,
) -> Result<(), NotInflated> {
    loop {
        // As much again: memory that nobody has written to is none yet.
        object.grow(object.filled.max(MIN_GROWTH)).inspect_err(|_| message.fail())?;
        let py = object.py;
        let room = object.room();
        let piece = detached(py, || message.fill(room, share))?;
        object.add_filled(piece.size, piece.is_ascii);
        if piece.is_last {
            return Ok(());
        }
    }
}

unsafe extern "C" {
    /// Documented with `bytes` objects in Python's C API; `PyO3` keeps it to itself.
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> c_int;
}

/// `bytes`, or `str` of ASCII characters, that is being filled. Nobody else has seen it, and until it is
/// [finished](Self::finish) it has more room than bytes.
struct Growing<'py> {
    py: Python<'py>,
    /// `None` at first, and when making it larger has failed.
    object: Option<Bound<'py, PyAny>>,
    is_text: bool,
    /// Whether all bytes that were filled are ASCII.
    is_ascii: bool,
    filled: usize,
    size: usize,
}

impl<'py> Growing<'py> {
    fn new(py: Python<'py>, is_text: bool) -> Self {
        Self { py, object: None, is_text, is_ascii: true, filled: 0, size: 0 }
    }

    /// Makes room for `more` bytes after those that are there. An error loses them.
    fn grow(&mut self, more: usize) -> Result<(), NoMemory> {
        memory::ask(more)?;
        self.resize(self.filled.checked_add(more).ok_or(NoMemory)?)
    }

    fn resize(&mut self, size: usize) -> Result<(), NoMemory> {
        let new_size = ffi::Py_ssize_t::try_from(size).map_err(|_| NoMemory)?;
        let mut object = self.object.take().map_or(ptr::null_mut(), Bound::into_ptr);
        // SAFETY: an object that there is has this type and no other owner, so it may be moved; when that fails the
        // pointer is null, or still that of the object. A new one has memory of that size that nobody has written; a
        // string that is made for characters up to 127 has one byte for each.
        let object = unsafe {
            let result = match (self.is_text, object.is_null()) {
                (true, true) => {
                    object = ffi::PyUnicode_New(new_size, 127);
                    0
                }
                (true, false) => ffi::PyUnicode_Resize(&raw mut object, new_size),
                (false, true) => {
                    object = ffi::PyBytes_FromStringAndSize(ptr::null(), new_size);
                    0
                }
                (false, false) => _PyBytes_Resize(&raw mut object, new_size),
            };
            Bound::from_owned_ptr_or_opt(self.py, object).filter(|_| result == 0)
        };
        if object.is_none() {
            // It says no more than the error does.
            drop(PyErr::take(self.py));
        }
        self.object = Some(object.ok_or(NoMemory)?);
        self.size = size;
        Ok(())
    }

    /// All its memory.
    fn memory(&mut self) -> &mut [MaybeUninit<u8>] {
        let Some(object) = &self.object else { return &mut [] };
        // SAFETY: the object has this type and this size, it does not move while it is borrowed, and nobody else knows it.
        unsafe {
            let data = if self.is_text {
                ffi::PyUnicode_DATA(object.as_ptr()).cast()
            } else {
                ffi::PyBytes_AsString(object.as_ptr()).cast()
            };
            std::slice::from_raw_parts_mut(data, self.size)
        }
    }

    /// The memory after the bytes that are there.
    fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        let filled = self.filled;
        &mut self.memory()[filled..]
    }

    /// Takes note of so many bytes of the room that were filled.
    fn add_filled(&mut self, count: usize, is_ascii: bool) {
        self.filled += count;
        self.is_ascii &= is_ascii;
    }

    /// The object, with the bytes that were filled. A text that is no UTF-8 is `InvalidUTF8Exception`.
    fn finish(mut self) -> PyResult<Bound<'py, PyAny>> {
        let (py, filled) = (self.py, self.filled);
        if self.is_text && !self.is_ascii {
            // SAFETY: so many were written; the two types have one layout.
            let bytes = unsafe { &*(ptr::from_ref(&self.memory()[..filled]) as *const [u8]) };
            // What is no ASCII never leaves this function in an object that was made for ASCII.
            return message(py, bytes, true);
        }
        if filled < self.size {
            self.resize(filled).map_err(|_| refusals::no_memory(py))?;
        }
        self.object.take().ok_or_else(|| refusals::no_memory(py))
    }
}
