//! Handler files that are still Python 2: converted in memory when they are loaded, by `wshost._python2`.

use std::path::Path;

use pyo3::exceptions::PySyntaxError;
use pyo3::prelude::*;

use crate::bridge::python::logging::{Level, Logger};

static LOG: Logger = Logger::new("wshost.python2");

/// The Python side.
const PYTHON2: &str = "wshost._python2";

/// What can be done about a file that is no Python 3.
pub(crate) enum Conversion<'py> {
    /// The file's text in Python 3.
    Converted(Bound<'py, PyAny>),
    /// It cannot be converted; this belongs after its error.
    Hint(String),
}

/// Looks whether the file `path`, which failed with `error`, is Python 2. `None`: its syntax is not what is wrong.
pub(crate) fn convert<'py>(
    py: Python<'py>,
    path: &Path,
    source: &Bound<'py, PyAny>,
    error: &PyErr,
) -> Option<Conversion<'py>> {
    // A syntax error of a module that the file imports is not the file's.
    let is_own = error.is_instance_of::<PySyntaxError>(py)
        && error.value(py).getattr("filename").is_ok_and(|name| name.eq(path.as_os_str()).unwrap_or(false));
    if !is_own {
        return None;
    }
    let ask = || -> PyResult<Conversion<'py>> {
        let python2 = py.import(PYTHON2)?;
        let converted = python2.call_method1("convert", (source, path.as_os_str()))?;
        if converted.is_none() {
            return Ok(Conversion::Hint(python2.call_method1("hint", (source,))?.extract()?));
        }
        LOG.log(py, Level::Warning, || {
            format!(
                "{}: is Python 2 and was converted in memory; `wshost check --fix` shows the changes",
                path.display()
            )
        });
        Ok(Conversion::Converted(converted))
    };
    // The converter itself failed: the syntax error says more than that.
    Some(
        ask().unwrap_or_else(|error| {
            Conversion::Hint(format!("; converting it from Python 2 failed: {error}"))
        }),
    )
}
