//! The exception classes of the compatible package, which Python code defines and Rust code raises.

use pyo3::IntoPyObjectExt;
use pyo3::create_exception;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use crate::bridge::python::cached::Cached;
use crate::error::StartError;

/// A class of `pywebsocket3`, imported on first use.
pub struct ExceptionClass {
    module: &'static str,
    name: &'static str,
    class: Cached<Py<PyType>>,
}

impl ExceptionClass {
    const fn new(module: &'static str, name: &'static str) -> Self {
        Self { module, name, class: Cached::new() }
    }

    /// The class itself.
    pub fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyType>> {
        self.class.import(py, self.module, self.name)
    }

    /// An exception made with one argument.
    pub fn error<'py>(&self, py: Python<'py>, argument: impl IntoPyObject<'py>) -> PyErr {
        match argument.into_bound_py_any(py).and_then(|value| PyTuple::new(py, [value])) {
            Ok(arguments) => self.error_with(&arguments),
            Err(error) => error,
        }
    }

    /// An exception made with these arguments.
    pub fn error_with(&self, arguments: &Bound<'_, PyTuple>) -> PyErr {
        let py = arguments.py();
        crate::locks::none_is_held();
        match self.get(py).and_then(|class| class.call1(arguments)) {
            Ok(value) => PyErr::from_value(value),
            Err(error) => error,
        }
    }

    /// Whether `error` is one of this class.
    pub fn matches(&self, py: Python<'_>, error: &PyErr) -> bool {
        self.get(py).is_ok_and(|class| error.is_instance(py, class))
    }
}

/// Imports what a connection would import for the first time when something goes wrong. While a thread imports a module
/// nobody else can, and a child that is forked at that moment never could.
///
/// `http.client`, which takes longer, is imported for the first request, before any code of handlers can fork.
pub fn import_early() {
    Python::attach(|py| {
        // The last two are imported where the traceback of a handler's mistake is made.
        for module in [STREAM, HANDSHAKE, "struct", "zlib", "ast", "tokenize"] {
            // Who needs it is told of it then.
            let _ = py.import(module);
        }
    });
}

const STREAM: &str = "pywebsocket3._stream_exceptions";
const HANDSHAKE: &str = "pywebsocket3.handshake.base";

/// The peer is gone.
pub static CONNECTION_TERMINATED: ExceptionClass =
    ExceptionClass::new(STREAM, "ConnectionTerminatedException");
/// The peer broke the framing rules: close code 1002.
pub static INVALID_FRAME: ExceptionClass = ExceptionClass::new(STREAM, "InvalidFrameException");
/// The handler asked for something that the connection's state forbids: close code 1011.
pub static BAD_OPERATION: ExceptionClass = ExceptionClass::new(STREAM, "BadOperationException");
/// A frame with bits or an opcode that nobody negotiated: close code 1003.
pub static UNSUPPORTED_FRAME: ExceptionClass = ExceptionClass::new(STREAM, "UnsupportedFrameException");
/// A text message that is not UTF-8: close code 1007.
pub static INVALID_UTF8: ExceptionClass = ExceptionClass::new(STREAM, "InvalidUTF8Exception");
/// A message above the size limit: close code 1009.
pub static MESSAGE_TOO_BIG: ExceptionClass = ExceptionClass::new(STREAM, "MessageTooBigException");
/// The handler wants the connection dropped without another byte.
pub static ABORTED_BY_USER: ExceptionClass = ExceptionClass::new(HANDSHAKE, "AbortedByUserException");
/// The opening handshake failed: an error page with the exception's `status`.
pub static HANDSHAKE_FAILED: ExceptionClass = ExceptionClass::new(HANDSHAKE, "HandshakeException");
/// The client speaks another version: 400 with `Sec-WebSocket-Version`.
pub static VERSION: ExceptionClass = ExceptionClass::new(HANDSHAKE, "VersionException");
/// No handler, or a handler file that cannot be used.
pub static DISPATCH: ExceptionClass = ExceptionClass::new("pywebsocket3.dispatch", "DispatchException");
/// A `Sec-WebSocket-Extensions` header that cannot be parsed.
pub static EXTENSION_PARSING: ExceptionClass =
    ExceptionClass::new("pywebsocket3.common", "ExtensionParsingException");

create_exception!(
    wshost,
    Panicked,
    PyBaseException,
    "A panic of wshost came out of a handler. It is in the log already, and ends the connection."
);

/// Puts `message` before the text of `exc`, in place: its `args` are that one text then.
///
/// Raises what `str(exc)` raises.
#[pyfunction]
pub fn prepend_message_to_exception(
    message: &Bound<'_, PyString>,
    exc: &Bound<'_, PyBaseException>,
) -> PyResult<()> {
    exc.setattr("args", (message.add(exc.str()?)?,))
}

/// The same for an exception that is on its way, which stays what it is when that fails.
pub fn prepend_message(py: Python<'_>, error: &PyErr, message: &str) {
    let value = error.value(py);
    if let Err(error) = prepend_message_to_exception(&PyString::new(py, message), value) {
        error.write_unraisable(py, Some(value));
    }
}

/// What keeps a server from starting, to Python code: an `OSError` with the one line that the program would
/// print.
#[must_use]
pub fn start_error(error: &StartError) -> PyErr {
    let number = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .and_then(std::io::Error::raw_os_error);
    match number {
        Some(number) => pyo3::exceptions::PyOSError::new_err((number, error.to_string())),
        None => pyo3::exceptions::PyOSError::new_err(error.to_string()),
    }
}

/// An `OSError` for what the system said; Python picks the subclass by the error number.
#[must_use]
pub fn os_error(py: Python<'_>, source: &std::io::Error) -> PyErr {
    let Some(number) = source.raw_os_error() else {
        return pyo3::exceptions::PyOSError::new_err(source.to_string());
    };
    let text = py
        .import("os")
        .and_then(|os| os.call_method1("strerror", (number,)))
        .map_or_else(|_| source.to_string(), |text| text.to_string());
    pyo3::exceptions::PyOSError::new_err((number, text))
}
