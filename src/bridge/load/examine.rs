//! What `wshost check` asks Python: what a handler file defines, what is wrong with it, and how it would be
//! converted. The answers are made by `wshost._examine`.

use std::path::Path;

use pyo3::prelude::*;
use pyo3::types::PyModule;
use serde_json::Value;

use crate::error::StartError;
use crate::handlers::LoadError;

fn ask<T>(question: impl FnOnce(&Bound<'_, PyModule>) -> PyResult<T>) -> Result<T, StartError> {
    Python::attach(|py| {
        py.import("wshost._examine")
            .and_then(|module| question(&module))
            .map_err(|error| StartError::Examine(error.value(py).to_string()))
    })
}

/// Keeps stdout for the report: what handlers print from now on goes to stderr.
pub fn prepare() -> Result<(), StartError> {
    ask(|module| module.call_method0("prepare").map(drop))
}

/// What there is to tell of the file `path`, which the loader has loaded or refused with `error`: an object with
/// `functions`, `imports`, `state`, `python2` and `problems`.
pub fn examine(path: &Path, encoding: Option<&str>, error: Option<&LoadError>) -> Result<Value, StartError> {
    let message = error.map(|error| error.message.as_str());
    let traceback = error.and_then(|error| error.traceback.as_deref());
    let text: String = ask(|module| {
        module.call_method1("examine", (path.as_os_str(), encoding, message, traceback))?.extract()
    })?;
    serde_json::from_str(&text).map_err(StartError::Explanation)
}

/// The diff that makes a Python 2 file Python 3; `None`: it is none, or cannot be converted. With `write`, the
/// file is replaced.
pub fn convert(path: &Path, encoding: Option<&str>, write: bool) -> Result<Option<String>, StartError> {
    ask(|module| {
        let found: Option<(String, String)> =
            module.call_method1("conversion", (path.as_os_str(), encoding))?.extract()?;
        if write && found.is_some() {
            module.call_method1("write_conversion", (path.as_os_str(), encoding))?;
        }
        Ok(found.map(|(difference, _)| difference))
    })
}
