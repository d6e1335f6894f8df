//! Handler files → suites: reads a file, runs it in a module of its own, picks out the three functions.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use pyo3::exceptions::PyUnicodeDecodeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule, PyString};

use crate::bridge::load::python2::{self, Conversion};
use crate::bridge::load::suite::{HandlerSuite, Suite, default_passive_closing_handshake};
use crate::bridge::python::exceptions::DISPATCH;
use crate::bridge::python::last_call::call;
use crate::bridge::python::logging::{Level, Logger, traceback};
use crate::bridge::python::thread::attach_as_thread;
use crate::error::StartError;
use crate::handlers::{LoadError, Loaded, Loader};

static LOG: Logger = Logger::new("wshost.reload");

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

    /// The text of a file of these bytes, as Python's `open` reads it.
    fn decode<'py>(&self, py: Python<'py>, source: &[u8]) -> Result<Bound<'py, PyAny>, LoadError> {
        let decode = || {
            let io = py.import("io")?;
            let bytes = io.call_method1("BytesIO", (PyBytes::new(py, source),))?;
            io.call_method1("TextIOWrapper", (bytes, &self.encoding))?.call_method0("read")
        };
        decode().map_err(|error| {
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
    type Renewal = Renewal;

    fn load(&self, path: &Path, source: &[u8]) -> Loaded<Suite> {
        attach_as_thread(|py| {
            let source = self.decode(py, source);
            let suite = source.as_ref().map_err(Clone::clone).and_then(|source| {
                let replaced = sourced(py, path, source)?;
                match suite(&replaced.module) {
                    Ok(suite) => {
                        // Not for one that took so long that a later version has its place.
                        if replaced.is_current(py) {
                            replaced.announce(py);
                        }
                        Ok(suite)
                    }
                    Err(error) => {
                        replaced.undo(py);
                        Err(error)
                    }
                }
            });
            let depends_on = depends_on(py, path, source.ok(), suite.is_err());
            Loaded { suite, depends_on }
        })
    }

    fn renew(&self, changed: &[PathBuf]) -> Renewal {
        attach_as_thread(|py| {
            let renewal = py
                .import(HELPERS)
                .and_then(|helpers| helpers.getattr("Renewal"))
                .and_then(|renewal| call(&renewal, (as_text(changed),)));
            Renewal(logged(py, "Helper modules cannot be imported anew", renewal).map(Bound::unbind))
        })
    }

    fn forget(&self, path: &Path) -> Box<dyn FnOnce() + Send> {
        let what = format!("{}: {UNLOAD_HOOK} failed", path.display());
        let old = attach_as_thread(|py| {
            let old =
                modules(py).and_then(|modules| modules.call_method1("pop", (module_name(path), py.None())));
            logged(py, &what, old).map(Bound::unbind)
        });
        Box::new(move || {
            attach_as_thread(|py| {
                if let Some(old) = old.map(|old| old.into_bound(py)).filter(|old| !old.is_none()) {
                    logged(py, &what, call_hook(&old, UNLOAD_HOOK));
                }
            });
        })
    }
}

/// Runs a file's code in a new module; that of a file which is still Python 2 once it is converted.
fn sourced<'py>(
    py: Python<'py>,
    path: &Path,
    source: &Bound<'py, PyAny>,
) -> Result<Replaced<'py>, LoadError> {
    let run = |source: &Bound<'py, PyAny>| Replaced::run(py, path, source);
    run(source).or_else(|error| match python2::convert(py, path, source, &error) {
        Some(Conversion::Converted(source)) => run(&source).map_err(|error| sourcing_failed(py, &error)),
        Some(Conversion::Hint(hint)) => {
            let LoadError { message, traceback } = sourcing_failed(py, &error);
            Err(LoadError { message: message + &hint, traceback })
        }
        None => Err(sourcing_failed(py, &error)),
    })
}

/// The Python side of helper modules.
const HELPERS: &str = "wshost._helpers";

/// Global of a handler's module: names of globals that the next version begins with.
const KEEP: &str = "wshost_keep";
/// Function of a handler's module, called with the module before another one takes its place.
const UNLOAD_HOOK: &str = "wshost_unload";
/// Function of a handler's module, called with the module before it serves.
const LOAD_HOOK: &str = "wshost_load";

/// Global of a module that runs: the one whose place it takes.
const PREVIOUS: &str = "__wshost_previous__";

/// Helper modules that are imported anew until this is dropped.
pub struct Renewal(Option<Py<PyAny>>);

impl Drop for Renewal {
    fn drop(&mut self) {
        if let Some(renewal) = self.0.take() {
            attach_as_thread(|py| {
                let finished = renewal.bind(py).getattr("finish").and_then(|finish| call(&finish, ()));
                logged(py, "Helper modules cannot be put back", finished);
            });
        }
    }
}

/// Paths as Python has them.
fn as_text(paths: &[PathBuf]) -> Vec<&OsStr> {
    paths.iter().map(|path| path.as_os_str()).collect()
}

/// The helper modules of the file `path`, of which `source` is the text; none, and an error in the log, if they cannot
/// be told.
fn depends_on(py: Python<'_>, path: &Path, source: Option<Bound<'_, PyAny>>, failed: bool) -> Vec<PathBuf> {
    let ask = || -> PyResult<Vec<PathBuf>> {
        py.import(HELPERS)?.call_method1("depends_on", (path.as_os_str(), "", source, failed))?.extract()
    };
    let what = format!("{}: its helper modules cannot be told", path.display());
    logged(py, &what, ask()).unwrap_or_default()
}

/// The value; or `None`, and the error in the log after `what`.
fn logged<T>(py: Python<'_>, what: &str, result: PyResult<T>) -> Option<T> {
    result.map_err(|error| LOG.log(py, Level::Error, || format!("{what}\n{}", traceback(py, &error)))).ok()
}

fn call_hook(module: &Bound<'_, PyAny>, name: &str) -> PyResult<()> {
    match module.getattr_opt(name)? {
        Some(hook) => call(&hook, (module,)).map(drop),
        None => Ok(()),
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

/// A handler file's code failed: the reference's words, the traceback after them in the same text.
fn sourcing_failed(py: Python<'_>, error: &PyErr) -> LoadError {
    let text = one_line(py, error);
    let help = if MAIN_THREAD_ONLY.iter().any(|said| text.contains(said)) { MAIN_THREAD_HELP } else { "" };
    LoadError {
        message: format!("Error in sourcing handler: {text}{help}"),
        traceback: Some(traceback(py, error)),
    }
}

/// What Python says of what it does on the main thread only.
const MAIN_THREAD_ONLY: [&str; 2] = ["only works in main thread", "no current event loop in thread"];

/// What to do then.
const MAIN_THREAD_HELP: &str = "; this runs on the main thread only, where files load at the start: restart, or do it before the server starts";

/// `NameError: name 'x' is not defined`.
fn one_line(py: Python<'_>, error: &PyErr) -> String {
    let name = error.get_type(py).name().map_or_else(|_| String::new(), |name| name.to_string());
    let text = error.value(py).to_string();
    let first = text.lines().next().unwrap_or_default();
    if first.is_empty() { name } else { format!("{name}: {first}") }
}

fn modules(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("sys")?.getattr("modules")
}

/// What the module of a handler file is called.
fn module_name(path: &Path) -> String {
    let stem = path.with_extension("");
    // Without dots: after one, Python looks for a package to import the module from.
    format!("wsh_handlers:{}", stem.to_string_lossy().replace('%', "%25").replace('.', "%2E"))
}

/// A module of a handler file, and the one whose place in `sys.modules` it has taken.
struct Replaced<'py> {
    name: String,
    path: PathBuf,
    module: Bound<'py, PyModule>,
    previous: Option<Bound<'py, PyAny>>,
}

impl<'py> Replaced<'py> {
    /// Runs a file's code in a new module that stands in `sys.modules` (where dataclasses, pickle and typing look
    /// their module up) as `wsh_handlers:` and the path. The old module of the file stays there if this fails.
    fn run(py: Python<'py>, path: &Path, source: &Bound<'py, PyAny>) -> PyResult<Self> {
        let name = module_name(path);
        let module = PyModule::new(py, &name)?;
        // As text, as Python's own importer has it; a `Path` would become a `pathlib.Path`.
        module.setattr("__file__", path.as_os_str())?;
        let mut previous =
            Some(modules(py)?.call_method1("get", (&name,))?).filter(|module| !module.is_none());
        // One that still runs, because it takes long, is no version yet.
        if let Some(before) =
            previous.as_ref().map(|module| module.getattr_opt(PREVIOUS)).transpose()?.flatten()
        {
            previous = Some(before).filter(|module| !module.is_none());
        }
        module.setattr(PREVIOUS, &previous)?;
        modules(py)?.set_item(&name, &module)?;
        let replaced = Self { name, path: path.to_owned(), module, previous };
        if let Some(previous) = &replaced.previous {
            let what = format!("{}: {KEEP} names what cannot be kept", path.display());
            logged(py, &what, keep(previous, &replaced.module));
        }
        let executed = execute(&replaced.module, source, path);
        // An error: code of the file has deleted it.
        let _ = replaced.module.delattr(PREVIOUS);
        if let Err(error) = executed {
            replaced.undo(py);
            return Err(error);
        }
        Ok(replaced)
    }

    /// Whether no other version of the file has been run since.
    fn is_current(&self, py: Python<'py>) -> bool {
        let current = modules(py).and_then(|modules| modules.call_method1("get", (&self.name,)));
        current.is_ok_and(|current| current.is(&self.module))
    }

    /// Puts the old module back.
    fn undo(&self, py: Python<'py>) {
        if !self.is_current(py) {
            return;
        }
        let put_back = || match &self.previous {
            Some(previous) => modules(py)?.set_item(&self.name, previous),
            None => modules(py)?.del_item(&self.name),
        };
        // An error: code of the file has taken the module out itself.
        let _ = put_back();
    }

    /// Calls the hooks of the two modules.
    fn announce(&self, py: Python<'py>) {
        if let Some(previous) = &self.previous {
            let what = format!("{}: {UNLOAD_HOOK} failed", self.path.display());
            logged(py, &what, call_hook(previous, UNLOAD_HOOK));
        }
        let what = format!("{}: {LOAD_HOOK} failed", self.path.display());
        logged(py, &what, call_hook(self.module.as_any(), LOAD_HOOK));
    }
}

/// Gives `module` those globals of `previous` that `previous` wants to be kept. One that is not set is passed over.
fn keep(previous: &Bound<'_, PyAny>, module: &Bound<'_, PyModule>) -> PyResult<()> {
    let Some(names) = previous.getattr_opt(KEEP)? else { return Ok(()) };
    let names: Vec<String> = match names.extract() {
        Ok(name) => vec![name],
        Err(_) => names.try_iter()?.map(|name| name?.extract()).collect::<PyResult<_>>()?,
    };
    for name in names {
        if let Some(value) = previous.getattr_opt(name.as_str())? {
            module.setattr(name.as_str(), value)?;
        }
    }
    Ok(())
}

/// Runs code in a module; `path` is the file name in its tracebacks.
fn execute(module: &Bound<'_, PyModule>, source: &Bound<'_, PyAny>, path: &Path) -> PyResult<()> {
    let py = module.py();
    let globals = module.dict();
    let builtins = py.import("builtins")?;
    globals.set_item("__builtins__", &builtins)?;
    let code = builtins.call_method1("compile", (source, path.as_os_str(), PyString::new(py, "exec")))?;
    call(&builtins.getattr("exec")?, (code, &globals)).map(drop)
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
