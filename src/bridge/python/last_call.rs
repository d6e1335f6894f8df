//! Calls of Python code that may last until the interpreter ends.
//!
//! Before Python 3.14 a thread that wants the GIL back from an interpreter that has ended is taken down with
//! `pthread_exit`, which unwinds its stack. `PyO3` calls Python in a way that no unwinding may cross, so the process would
//! abort. In a call from here the unwinding ends, and with it all that the thread does: it waits for the end of the process,
//! as threads do from Python 3.14 on.

use std::thread;

use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{BoundObject, PyTypeInfo, ffi};

use crate::bridge::python::exceptions::Panicked;

unsafe extern "C-unwind" {
    fn PyObject_Call(
        callable: *mut ffi::PyObject,
        arguments: *mut ffi::PyObject,
        keywords: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

/// Dropped only when its thread is taken down.
struct TakenDown;

impl Drop for TakenDown {
    fn drop(&mut self) {
        loop {
            thread::park();
        }
    }
}

/// Calls `callable`, which may run for as long as it likes. A panic of ours that comes out of it is [`Panicked`]: where
/// `PyO3` finds its exception, it prints a report of its own and panics again.
///
/// # Errors
///
/// What it raises.
pub fn call<'py, A>(callable: &Bound<'py, PyAny>, arguments: A) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple>,
{
    let py = callable.py();
    let arguments = arguments.into_pyobject(py).map_err(Into::into)?.into_bound();
    // SAFETY: both are objects and `py` shows that this thread is attached; the call gives a new reference, or null
    // with an exception set, of whose type a subclass of `BaseException` is a borrowed one. No Rust frame is unwound:
    // `TakenDown` never comes back.
    unsafe {
        let taken_down = TakenDown;
        let value = PyObject_Call(callable.as_ptr(), arguments.as_ptr(), std::ptr::null_mut());
        std::mem::forget(taken_down);
        if value.is_null() && ffi::PyErr_ExceptionMatches(PanicException::type_object_raw(py).cast()) != 0 {
            ffi::PyErr_Clear();
            return Err(Panicked::new_err(()));
        }
        Bound::from_owned_ptr_or_err(py, value)
    }
}
