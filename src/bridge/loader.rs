//! Handler files → suites: reads a file, runs it in a module of its own, picks out the three functions.

use std::path::Path;

use pyo3::exceptions::PyUnicodeDecodeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule, PyString};

use super::dispatch::{HandlerSuite, Suite, default_passive_closing_handshake};
use super::exceptions::DISPATCH;
use super::python_logging::traceback;
use crate::error::StartError;
use crate::handlers::{LoadError, Loader};

/// Loads handler files with the interpreter of this process.
pub struct PythonLoader {
    /// Python codec of the files; `None`: the locale's, as in the reference.
    encoding: Option<String>,
}

impl PythonLoader {
    /// A loader for files in `encoding`, which Python must know.
    pub fn new(encoding: Option<String>) -> Result<Self, StartError> {
        if let Some(name) = &encoding {
            let known = Python::attach(|py| py.import("codecs")?.call_method1("lookup", (name,)).map(drop));
            known.map_err(|_| StartError::Encoding(name.clone()))?;
        }
        Ok(Self { encoding })
    }

    fn read<'py>(&self, py: Python<'py>, path: &Path) -> Result<Bound<'py, PyAny>, LoadError> {
        let keywords = PyDict::new(py);
        let open = || {
            keywords.set_item("encoding", &self.encoding)?;
            let file = py.import("io")?.call_method("open", (path,), Some(&keywords))?;
            let source = file.call_method0("read");
            file.call_method0("close")?;
            source
        };
        open().map_err(|error| {
            let value = error.value(py);
            let message = if error.is_instance_of::<PyUnicodeDecodeError>(py) {
                format!("cannot be decoded ({value}); name its encoding with --handler-encoding")
            } else {
                format!("cannot be read: {value}")
            };
            LoadError { message, traceback: None }
        })
    }
}

impl Loader for PythonLoader {
    type Suite = Suite;

    fn load(&self, path: &Path) -> Result<Suite, LoadError> {
        Python::attach(|py| {
            let source = self.read(py, path)?;
            let module = run(py, path, &source).map_err(|error| sourcing_failed(py, &error))?;
            suite(&module)
        })
    }
}

/// The suite of a handler file's text.
///
/// Raises `DispatchException` when the text does not run or lacks one of the two functions that a handler must
/// have.
#[pyfunction(name = "_source_handler_file")]
pub fn source_handler_file(handler_definition: Bound<'_, PyAny>) -> PyResult<Suite> {
    let py = handler_definition.py();
    let sourced = PyModule::new(py, "wsh_handlers").and_then(|module| {
        execute(&module, &handler_definition, Path::new("<string>"))?;
        Ok(module)
    });
    let sourced = sourced.map_err(|error| sourcing_failed(py, &error));
    sourced.and_then(|module| suite(&module)).map_err(|error| {
        let traceback = error.traceback.map_or_else(String::new, |traceback| format!("\n{traceback}"));
        DISPATCH.error(py, error.message + &traceback)
    })
}

/// A handler file's code failed: the reference's words, the traceback behind them in the same text.
fn sourcing_failed(py: Python<'_>, error: &PyErr) -> LoadError {
    LoadError {
        message: format!("Error in sourcing handler: {}", one_line(py, error)),
        traceback: Some(traceback(py, error)),
    }
}

/// `NameError: name 'x' is not defined`.
fn one_line(py: Python<'_>, error: &PyErr) -> String {
    let name = error.get_type(py).name().map_or_else(|_| String::new(), |name| name.to_string());
    let text = error.value(py).to_string();
    let first = text.lines().next().unwrap_or_default();
    if first.is_empty() { name } else { format!("{name}: {first}") }
}

/// Runs a file's code in a new module that stands in `sys.modules` (where dataclasses, pickle and typing look
/// their module up) as `wsh_handlers:` and the path. The old module of the file stays there if this fails.
fn run<'py>(py: Python<'py>, path: &Path, source: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyModule>> {
    let stem = path.with_extension("");
    // Without dots: behind one, Python looks for a package to import the module from.
    let name = format!("wsh_handlers:{}", stem.to_string_lossy().replace('%', "%25").replace('.', "%2E"));
    let module = PyModule::new(py, &name)?;
    // As text, as Python's own importer has it; a `Path` would become a `pathlib.Path`.
    module.setattr("__file__", path.as_os_str())?;
    let modules = py.import("sys")?.getattr("modules")?;
    let previous = modules.call_method1("get", (&name,))?;
    modules.set_item(&name, &module)?;
    if let Err(error) = execute(&module, source, path) {
        if previous.is_none() {
            modules.del_item(&name)?;
        } else {
            modules.set_item(&name, previous)?;
        }
        return Err(error);
    }
    Ok(module)
}

/// Runs code in a module; `path` is the file name in its tracebacks.
fn execute(module: &Bound<'_, PyModule>, source: &Bound<'_, PyAny>, path: &Path) -> PyResult<()> {
    let py = module.py();
    let globals = module.dict();
    let builtins = py.import("builtins")?;
    globals.set_item("__builtins__", &builtins)?;
    let code = builtins.call_method1("compile", (source, path, PyString::new(py, "exec")))?;
    builtins.call_method1("exec", (code, &globals)).map(drop)
}

fn suite(module: &Bound<'_, PyModule>) -> Result<Suite, LoadError> {
    let py = module.py();
    let refuse = |reason: String| LoadError { message: reason, traceback: None };
    let python = |error: PyErr| refuse(error.to_string());
    let passive = match function(module, "web_socket_passive_closing_handshake") {
        Ok(function) => function,
        Err(_) => pyo3::wrap_pyfunction!(default_passive_closing_handshake, py).map_err(python)?.into_any(),
    };
    let extra_handshake = function(module, "web_socket_do_extra_handshake").map_err(refuse)?;
    let transfer_data = function(module, "web_socket_transfer_data").map_err(refuse)?;
    let suite = HandlerSuite::new(extra_handshake.unbind(), transfer_data.unbind(), passive.unbind());
    Py::new(py, suite).map_err(python)
}

/// A callable global of a handler's module.
fn function<'py>(module: &Bound<'py, PyModule>, name: &str) -> Result<Bound<'py, PyAny>, String> {
    match module.dict().get_item(name) {
        Ok(Some(function)) if function.is_callable() => Ok(function),
        Ok(Some(_)) => Err(format!("{name} is not callable.")),
        _ => Err(format!("{name} is not defined.")),
    }
}
