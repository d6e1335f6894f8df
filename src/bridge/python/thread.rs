//! Makes a thread of ours one of Python's: what `threading` does when a thread of its own begins and ends.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::bridge::python::cached::{Cached, intern};
use crate::bridge::python::detach::in_one_process;

/// A thread that is attached for the first time, until this is dropped, which must happen attached.
pub(crate) struct PythonThread<'py>(Option<Bound<'py, PyDict>>);

impl<'py> PythonThread<'py> {
    /// Does what must be done before other Python code runs on this thread: debuggers, profilers and tools that measure
    /// coverage wait for its beginning (`threading.settrace`, `threading.setprofile`).
    pub(crate) fn begin(py: Python<'py>) -> Self {
        let threading = threading(py).map_err(|error| error.write_unraisable(py, None)).ok();
        if let Some(threading) = &threading {
            // What is there under this thread's number is of a thread that has ended.
            forget(threading);
            if let Err(error) = set_hooks(threading) {
                error.write_unraisable(py, None);
            }
        }
        Self(threading)
    }
}

impl Drop for PythonThread<'_> {
    fn drop(&mut self) {
        if let Some(threading) = &self.0 {
            forget(threading);
        }
    }
}

/// Attaches this thread to Python, as one of Python's unless it is one already, for code of others. A child that it forks
/// and that comes back from it ends, as one of a handler does.
pub(crate) fn attach_as_thread<T>(work: impl FnOnce(Python<'_>) -> T) -> T {
    // SAFETY: may be called at any time, attached or not.
    let is_new = unsafe { ffi::PyGILState_GetThisThreadState().is_null() };
    Python::attach(|py| {
        let _thread = is_new.then(|| PythonThread::begin(py));
        in_one_process(|| work(py))
    })
}

/// The globals of `threading`.
fn threading(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    static GLOBALS: Cached<Py<PyDict>> = Cached::new();
    let globals = GLOBALS.get_or_try_init(|| Ok(py.import("threading")?.dict().unbind()))?;
    Ok(globals.bind(py).clone())
}

fn set_hooks(threading: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = threading.py();
    // The names that `threading.gettrace` and `getprofile` read, which Python 3.9 does not have.
    let hooks = [
        (intern!(py, "_trace_hook"), intern!(py, "settrace")),
        (intern!(py, "_profile_hook"), intern!(py, "setprofile")),
    ];
    for (name, set) in hooks {
        if let Some(hook) = threading.get_item(name)?.filter(|hook| !hook.is_none()) {
            // As with its own threads: `threading` knows this one before the hook is called. debugpy wants that.
            py.import("threading")?.call_method0(intern!(py, "current_thread"))?;
            py.import("sys")?.call_method1(set, (hook,))?;
        }
    }
    Ok(())
}

/// Lets go of the object that `threading.current_thread()` has made for this thread, if it has, with all that a handler
/// has hung on it: it would stay there for good, and for the next thread of the same number.
fn forget(threading: &Bound<'_, PyDict>) {
    let py = threading.py();
    // SAFETY: asks for a number, the one that Python calls `ident`.
    let number = unsafe { libc::pthread_self() };
    if let Ok(Some(active)) = threading.get_item(intern!(py, "_active"))
        && let Ok(active) = active.cast_into::<PyDict>()
        && active.contains(number).unwrap_or(false)
    {
        // An error: it is gone already.
        let _ = active.del_item(number);
    }
}
