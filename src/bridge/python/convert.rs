//! Bytes and pairs, from Python and to it. Where memory is short, `MemoryError` comes, and no panic.

use std::ptr;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyUnicodeDecodeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::bridge::python::exceptions::INVALID_UTF8;
use crate::bridge::python::refusals::{self, memory_error};
use crate::locks::handlers_code_may_run;
use crate::websocket::memory;

/// Calls `use_bytes` with the bytes of a bytes-like object; `bytes` without a copy. `str` is a `TypeError`
/// with Python's own text.
pub(crate) fn with_bytes<R>(data: &Bound<'_, PyAny>, use_bytes: impl FnOnce(&[u8]) -> R) -> PyResult<R> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(use_bytes(bytes.as_bytes()));
    }
    if data.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("a bytes-like object is required, not 'str'"));
    }
    handlers_code_may_run();
    // Others may be changed by another thread while this one is detached: work on a copy.
    let buffer = PyBuffer::<u8>::get(data).map_err(|_| {
        let name = data.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!("a bytes-like object is required, not '{name}'"))
    })?;
    let mut copy = memory::zeroed(buffer.len_bytes()).map_err(|_| memory_error())?;
    buffer.copy_to_slice(data.py(), &mut copy)?;
    drop(buffer);
    Ok(use_bytes(&copy))
}

/// The bytes of a bytes-like object.
pub(crate) fn copied(data: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    with_bytes(data, memory::copy)?.map_err(|_| memory_error())
}

/// `first, second = value`, with Python's errors for other shapes.
pub(crate) fn unpack_pair<'py>(
    value: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let parts = value.try_iter()?.collect::<PyResult<Vec<_>>>()?;
    let count = parts.len();
    <[Bound<'_, PyAny>; 2]>::try_from(parts)
        .map(Into::into)
        .map_err(|_| PyValueError::new_err(format!("expected 2 values to unpack, got {count}")))
}

/// The payload of a message as the handler gets it: `str` of a text, `bytes` of others.
pub fn message<'py>(py: Python<'py>, payload: &[u8], is_text: bool) -> PyResult<Bound<'py, PyAny>> {
    let object = if is_text { text(py, payload) } else { bytes(py, payload).map(Bound::into_any) };
    object.map_err(|error| refusals::received(py, error))
}

/// `bytes`, or `MemoryError`, where `PyBytes::new` would panic.
pub fn bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    memory::ask(bytes.len()).map_err(|_| refusals::memory_error())?;
    let length = ffi::Py_ssize_t::try_from(bytes.len())?;
    // SAFETY: the pointer and the length are those of a slice; the function gives a new reference or null with an
    // exception set.
    unsafe {
        let object = ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), length);
        Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
    }
}

/// `bytes.decode('utf-8')`: validated and built in one go. Bytes that are no UTF-8 are `InvalidUTF8Exception`.
pub fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    memory::ask(bytes.len()).map_err(|_| refusals::memory_error())?;
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
