//! The interpreter of the binary: which Python it is, and the files of `python/` that it carries inside.
//!
//! A wheel needs none of this: its interpreter runs already and finds the files on its own.

use std::env;
use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyModule};

use crate::error::{PythonError, StartError};
use crate::python_files;

/// The file that makes the others importable.
const BOOTSTRAP: &str = "wshost/_embedded.py";

/// The version of the library that this program is linked with, as `3.11`.
const BUILD_VERSION: &str = env!("WSHOST_BUILD_PYTHON_VERSION");

/// Starts Python as `python` (an interpreter or a virtual environment), else as the active virtual environment
/// (`VIRTUAL_ENV`), else as the interpreter that the program was built with. Must be called once, on the main
/// thread; the thread is detached when it returns.
pub fn start(python: Option<&Path>) -> Result<(), StartError> {
    let executable = choose_executable(python)?;
    initialize(&executable)?;
    let prepare = |py: Python<'_>| -> PyResult<()> {
        take_interrupt(py)?;
        install_packages(py)
    };
    Python::attach(|py| {
        prepare(py).map_err(|error| StartError::Python(PythonError::Refused(error.to_string())))
    })
}

/// Takes SIGINT from Python's own handler, which would leave a `KeyboardInterrupt` in the server and in the children that
/// handlers fork. Gives that handler; `None`: another one is there, and stays. Must be called on the main thread.
pub fn take_interrupt(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let signals = py.import("signal")?;
    let interrupt = signals.getattr("SIGINT")?;
    let handler = signals.call_method1("getsignal", (&interrupt,))?;
    if !handler.is(&signals.getattr("default_int_handler")?) {
        return Ok(None);
    }
    signals.call_method1("signal", (interrupt, signals.getattr("SIG_DFL")?))?;
    Ok(Some(handler))
}

fn choose_executable(python: Option<&Path>) -> Result<PathBuf, StartError> {
    let (chosen, option) = match (python, env::var_os("VIRTUAL_ENV").filter(|path| !path.is_empty())) {
        (Some(path), _) => (path.to_owned(), "--python"),
        (None, Some(path)) => (PathBuf::from(path), "VIRTUAL_ENV"),
        (None, None) => return Ok(PathBuf::from(env!("WSHOST_BUILD_PYTHON"))),
    };
    let executable = if chosen.is_dir() { chosen.join("bin/python") } else { chosen };
    let path = std::path::absolute(&executable).unwrap_or(executable);
    if !path.is_file() {
        return Err(StartError::Python(PythonError::NoInterpreter { option, path }));
    }
    match environment_version(&path) {
        Some(version) if version != BUILD_VERSION => {
            let built = BUILD_VERSION;
            Err(StartError::Python(PythonError::OtherVersion { option, path, version, built }))
        }
        _ => Ok(path),
    }
}

/// The version of a virtual environment, as `3.11`, from its `pyvenv.cfg`.
fn environment_version(executable: &Path) -> Option<String> {
    let text = fs::read_to_string(executable.parent()?.parent()?.join("pyvenv.cfg")).ok()?;
    let version = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        matches!(key.trim(), "version" | "version_info").then(|| value.trim().to_owned())
    })?;
    let mut parts = version.split('.');
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}

/// `PYTHONPATH` without the standard libraries that are in it; `None` when there are none.
///
/// Firefox's mochitest harness puts all of its own Python's `sys.path` there. That library is not for this Python,
/// which would not even start with it.
fn path_without_libraries(python_path: &OsStr) -> Option<OsString> {
    let is_library = |folder: &PathBuf| folder.join("os.py").is_file() && folder.join("encodings").is_dir();
    let (libraries, others): (Vec<_>, Vec<_>) = env::split_paths(python_path).partition(is_library);
    if libraries.is_empty() { None } else { env::join_paths(others).ok() }
}

fn initialize(executable: &Path) -> Result<(), StartError> {
    let executable =
        CString::new(executable.as_os_str().as_bytes()).map_err(|_| StartError::Python(PythonError::Nul))?;
    let python_path = env::var_os("PYTHONPATH").and_then(|path| path_without_libraries(&path));
    let python_path = python_path.and_then(|path| CString::new(path.into_vec()).ok());
    let mut config = MaybeUninit::<ffi::PyConfig>::uninit();
    // SAFETY: the sequence that CPython's "Python Initialization Configuration" prescribes: the structure is
    // initialized by `PyConfig_InitPythonConfig` before anything reads it, strings are set by the functions
    // made for it, and it is cleared on every way out. No other thread runs Python: none was started yet.
    unsafe {
        ffi::PyConfig_InitPythonConfig(config.as_mut_ptr());
        let config = config.assume_init_mut();
        config.parse_argv = 0;
        config.install_signal_handlers = 0;
        // What handlers print goes out at once, as with `python -u`: harnesses read it through pipes.
        config.buffered_stdio = 0;
        let pointer = std::ptr::from_mut(config);
        let mut status =
            ffi::PyConfig_SetBytesString(pointer, &raw mut (*pointer).executable, executable.as_ptr());
        if ffi::PyStatus_Exception(status) == 0 {
            let name = &raw mut (*pointer).program_name;
            status = ffi::PyConfig_SetBytesString(pointer, name, executable.as_ptr());
        }
        if let (0, Some(python_path)) = (ffi::PyStatus_Exception(status), &python_path) {
            let setting = &raw mut (*pointer).pythonpath_env;
            status = ffi::PyConfig_SetBytesString(pointer, setting, python_path.as_ptr());
        }
        if ffi::PyStatus_Exception(status) == 0 {
            status = ffi::Py_InitializeFromConfig(pointer);
        }
        ffi::PyConfig_Clear(pointer);
        if ffi::PyStatus_Exception(status) != 0 {
            return Err(StartError::Python(PythonError::Refused(text_of(status.err_msg))));
        }
        // This thread is attached now; everything else attaches for itself.
        ffi::PyEval_SaveThread();
    }
    Ok(())
}

/// # Safety
///
/// `text` is null or a C string that lives as long as the call.
unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return "it gave no reason".to_owned();
    }
    // SAFETY: not null, and the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Makes `wshost`, `pywebsocket3` and `mod_pywebsocket` importable from inside the binary, before any that is
/// installed: the native module fits only its own Python files. The working directory comes first on
/// `sys.path`, as with `python -m`.
fn install_packages(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    let native = pyo3::wrap_pymodule!(crate::_native)(py);
    sys.getattr("modules")?.set_item("wshost._native", native)?;
    let path = sys.getattr("path")?;
    // As text: a `pathlib.Path`, which PyO3 makes of a path, is no entry that Python looks at.
    path.call_method1("insert", (0, env::current_dir()?.into_os_string()))?;
    let files = PyDict::new(py);
    let mut bootstrap: &[u8] = b"";
    for file in python_files::all() {
        files.set_item(file.path().as_os_str(), PyBytes::new(py, file.contents()))?;
        if file.path() == Path::new(BOOTSTRAP) {
            bootstrap = file.contents();
        }
    }
    let bootstrap = CString::new(bootstrap)?;
    let module = PyModule::from_code(py, &bootstrap, c"wshost/_embedded.py", c"wshost._embedded")?;
    module.call_method1("install", (files,))?;
    Ok(())
}

/// Which Python runs: its version, library, prefix and site-packages, one a line.
pub fn description() -> Result<String, StartError> {
    let describe = |py: Python<'_>| -> PyResult<String> {
        let sys = py.import("sys")?;
        let prefix: PathBuf = sys.getattr("prefix")?.extract()?;
        let paths = py.import("sysconfig")?.call_method1("get_path", ("purelib",))?;
        let site_packages: PathBuf = paths.extract()?;
        Ok(format!(
            "Python {}\nlibpython {}\nprefix {}\nsite-packages {}",
            sys.getattr("version")?.str()?.to_string_lossy().replace('\n', " "),
            library().unwrap_or_else(|| "(unknown)".to_owned()),
            prefix.display(),
            site_packages.display()
        ))
    };
    Python::attach(|py| {
        describe(py).map_err(|error| StartError::Python(PythonError::Refused(error.to_string())))
    })
}

/// The file that Python's code was loaded from: a libpython, or the interpreter itself.
fn library() -> Option<String> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: any address may be asked about; `info` is written when the call succeeds and only read then. The
    // name lives as long as the library, which is never unloaded.
    unsafe {
        let address = ffi::Py_IsInitialized as *const libc::c_void;
        if libc::dladdr(address, info.as_mut_ptr()) == 0 {
            return None;
        }
        Some(text_of(info.assume_init().dli_fname))
    }
}
