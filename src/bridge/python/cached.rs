//! Objects of Python that are looked up once and kept for good.
//!
//! PyO3's own `PyOnceLock` and `intern!` let go of Python while a value is made, and others wait for it. A child that is
//! forked just then has nobody who makes it, and would wait for ever. Here nobody waits: threads that come together all
//! make the value, and the first one stays.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::PyTypeCheck;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A value that is made on first use. It is never dropped: this is for statics.
pub(crate) struct Cached<T>(AtomicPtr<T>);

impl<T: Send + Sync> Cached<T> {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The value, made by `make` if there is none.
    pub(crate) fn get_or_try_init(&self, make: impl FnOnce() -> PyResult<T>) -> PyResult<&T> {
        // SAFETY: null, or a leaked box, to which nobody writes.
        if let Some(value) = unsafe { self.0.load(Ordering::Acquire).as_ref() } {
            return Ok(value);
        }
        let new = Box::into_raw(Box::new(make()?));
        let stored = self.0.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire);
        let kept = match stored {
            Ok(_) => new,
            Err(first) => {
                // SAFETY: made above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
                first
            }
        };
        // SAFETY: a leaked box, to which nobody writes.
        Ok(unsafe { &*kept })
    }
}

impl<T: PyTypeCheck> Cached<Py<T>> {
    /// What is called `name` in `module`.
    pub(crate) fn import<'py>(&self, py: Python<'py>, module: &str, name: &str) -> PyResult<&Bound<'py, T>> {
        let object = self.get_or_try_init(|| Ok(py.import(module)?.getattr(name)?.cast_into()?.unbind()))?;
        Ok(object.bind(py))
    }
}

impl Cached<Py<PyString>> {
    /// `text` as an interned `str`; for [`intern`], which has one of these for each text.
    pub(crate) fn text<'py>(&self, py: Python<'py>, text: &str) -> &Bound<'py, PyString> {
        let make = || Ok(PyString::intern(py, text).unbind());
        match self.get_or_try_init(make) {
            Ok(text) => text.bind(py),
            Err(_) => unreachable!("making it cannot fail"),
        }
    }
}

/// `intern!(py, "text")`: the text as an interned `str`.
macro_rules! intern {
    ($py:expr, $text:expr) => {{
        use $crate::bridge::python::cached::Cached;
        static TEXT: Cached<::pyo3::Py<::pyo3::types::PyString>> = Cached::new();
        TEXT.text($py, $text)
    }};
}
pub(crate) use intern;
