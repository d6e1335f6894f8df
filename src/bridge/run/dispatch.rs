//! `dispatch.Dispatcher`: resource → handler, the three calls, and what each exception means to the peer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyException, PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::bridge::load::loader::PythonLoader;
use crate::bridge::load::suite::{HandlerSuite, Suite, default_passive_closing_handshake};
use crate::bridge::python::cached::intern;
use crate::bridge::python::detach::detached;
use crate::bridge::python::exceptions::{
    ABORTED_BY_USER, BAD_OPERATION, CONNECTION_TERMINATED, DISPATCH, ExceptionClass, HANDSHAKE_FAILED,
    INVALID_FRAME, INVALID_UTF8, MESSAGE_TOO_BIG, UNSUPPORTED_FRAME, prepend_message,
};
use crate::bridge::python::interruptible::interruptible;
use crate::bridge::python::last_call::call;
use crate::bridge::python::logging::{Level, Logger, repr, traceback};
use crate::config::HandlersConfig;
use crate::error::StartError;
use crate::handlers::{self, Handler, MapFile, MapProblem, Registry, Snapshot};
use crate::http::read_regular;
use crate::per_process::Process;
use crate::shutdown::exit_at_once;

static LOG: Logger = Logger::new("pywebsocket3.dispatch.Dispatcher");

const FORBIDDEN: u16 = 403;
const BAD_REQUEST: u16 = 400;

/// What ends `web_socket_transfer_data` when it raises, by what becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The handler aborts: nothing is sent, and the exception goes on.
    Aborted,
    /// 1011: the handler did what a stream cannot do.
    BadOperation,
    /// 1009: a message was too big.
    TooBig,
    /// 1002: a frame was none.
    InvalidFrame,
    /// 1003: a frame that is not taken.
    UnsupportedFrame,
    /// 1007: a text was no UTF-8.
    InvalidUtf8,
    /// The peer is gone: nothing can be sent.
    PeerGone,
    /// 1011 without waiting for the answer, and the exception goes on.
    NoMemory,
    /// The handler failed: the connection ends without a close frame, as in pywebsocket, and the exception goes on.
    Failed,
    /// `SystemExit` and the like: as `Failed`, and nobody is blamed.
    Exit,
}

/// The ends that a class of ours stands for. The first class that matches decides, so subclasses stand before their
/// bases.
static ENDS: [(&ExceptionClass, End); 7] = [
    (&ABORTED_BY_USER, End::Aborted),
    (&BAD_OPERATION, End::BadOperation),
    (&MESSAGE_TOO_BIG, End::TooBig),
    (&INVALID_FRAME, End::InvalidFrame),
    (&UNSUPPORTED_FRAME, End::UnsupportedFrame),
    (&INVALID_UTF8, End::InvalidUtf8),
    (&CONNECTION_TERMINATED, End::PeerGone),
];

impl End {
    fn of(py: Python<'_>, error: &PyErr) -> Self {
        if let Some((_, end)) = ENDS.iter().find(|(class, _)| class.matches(py, error)) {
            *end
        } else if error.is_instance_of::<PyMemoryError>(py) {
            Self::NoMemory
        } else if error.is_instance_of::<PyException>(py) {
            Self::Failed
        } else {
            Self::Exit
        }
    }

    /// What the connection is closed with; `None`: no close frame is sent.
    const fn close_code(self) -> Option<u16> {
        match self {
            Self::InvalidFrame => Some(1002),
            Self::UnsupportedFrame => Some(1003),
            Self::InvalidUtf8 => Some(1007),
            Self::TooBig => Some(1009),
            Self::BadOperation | Self::NoMemory => Some(1011),
            Self::Aborted | Self::PeerGone | Self::Failed | Self::Exit => None,
        }
    }
}

/// Where a dispatcher looks its handlers up.
enum Source {
    /// A tree of files of its own.
    Tree(Arc<Registry<PythonLoader>>),
    /// A connection of the server.
    Connection {
        /// The handler that the connection keeps to its end.
        handler: Arc<Handler<Suite>>,
        /// The resource by which it was found, without query.
        key: String,
        /// For all other resources.
        registry: Arc<Registry<PythonLoader>>,
    },
    /// No files at all.
    Nothing,
}

/// Knows the handlers and calls them.
///
/// It has no `__traverse__`: its handlers are the registry's, too, and the garbage collector would take each reference for
/// as many as there are dispatchers.
#[pyclass(frozen, dict, weakref, subclass, module = "pywebsocket3.dispatch")]
pub struct Dispatcher(Source);

impl Dispatcher {
    /// The dispatcher of one connection of the server.
    pub(crate) fn of_connection(
        handler: Arc<Handler<Suite>>,
        resource: &str,
        registry: Arc<Registry<PythonLoader>>,
    ) -> Self {
        let key = handlers::lookup_key(resource).0.to_owned();
        Self(Source::Connection { handler, key, registry })
    }

    /// The files that the dispatcher was made from. Raises `ValueError` for the dispatcher of a connection.
    pub(crate) fn registry(&self) -> PyResult<Arc<Registry<PythonLoader>>> {
        match &self.0 {
            Source::Tree(registry) => Ok(Arc::clone(registry)),
            Source::Connection { .. } | Source::Nothing => {
                Err(PyValueError::new_err("a connection's dispatcher cannot make a server"))
            }
        }
    }

    fn snapshot(&self) -> Arc<Snapshot<Suite>> {
        match &self.0 {
            Source::Tree(registry) | Source::Connection { registry, .. } => registry.snapshot(),
            Source::Nothing => Arc::new(Snapshot::empty()),
        }
    }

    /// The handler for `request.ws_resource`.
    fn suite<'py>(&self, request: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, HandlerSuite>>> {
        let resource: String = request.getattr(intern!(request.py(), "ws_resource"))?.extract()?;
        self.get_handler_suite(request.py(), &resource)
    }

    fn known_suite<'py>(&self, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, HandlerSuite>> {
        if let Some(suite) = self.suite(request)? {
            Ok(suite)
        } else {
            let resource = repr(&request.getattr(intern!(request.py(), "ws_resource"))?);
            Err(DISPATCH.error(request.py(), format!("No handler for: {resource}")))
        }
    }

    fn run_transfer_data(&self, request: &Bound<'_, PyAny>) -> PyResult<()> {
        let suite = self.known_suite(request)?;
        call_handler(&suite.get().transfer_data, request)?;
        if !request.getattr(intern!(request.py(), "server_terminated"))?.is_truthy()? {
            request
                .getattr(intern!(request.py(), "ws_stream"))?
                .call_method0(intern!(request.py(), "close_connection"))?;
        }
        Ok(())
    }
}

/// Calls a handler's function. A child that it forked and that comes back from it ends here: the connection and
/// the server are its parent's.
fn call_handler(function: &Py<PyAny>, request: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = request.py();
    let process = Process::this();
    let outcome = call(function.bind(py), (request,));
    if process.is_this() {
        return outcome.map(drop);
    }
    end_child(py, outcome)
}

#[cold]
fn end_child(py: Python<'_>, outcome: PyResult<Bound<'_, PyAny>>) -> ! {
    let code = outcome.map_or_else(|error| i32::from(complain(py, &error)), |_| 0);
    exit_at_once(code)
}

/// Writes the traceback of an exception that is an error to stderr; `false` when it is none.
fn complain(py: Python<'_>, error: &PyErr) -> bool {
    let is_error = error.is_instance_of::<PyException>(py);
    if is_error {
        error.display(py);
    }
    is_error
}

/// What `name raised exception for RESOURCE: ` puts before a handler's exception.
fn blame(request: &Bound<'_, PyAny>, function: &str, error: &PyErr) {
    let resource = request
        .getattr(intern!(request.py(), "ws_resource"))
        .map_or_else(|_| String::new(), |name| name.to_string());
    prepend_message(request.py(), error, &format!("{function} raised exception for {resource}: "));
}

#[pymethods]
impl Dispatcher {
    /// Loads the handlers below `scan_dir` (default: `root_dir`), whose resources count from `root_dir`.
    ///
    /// Raises `DispatchException` when `scan_dir` is not below `root_dir`.
    #[new]
    #[pyo3(signature = (root_dir, scan_dir=None, allow_handlers_outside_root_dir=true, handler_encoding=None))]
    fn new(
        py: Python<'_>,
        root_dir: PathBuf,
        scan_dir: Option<PathBuf>,
        allow_handlers_outside_root_dir: bool,
        handler_encoding: Option<String>,
    ) -> PyResult<Self> {
        let config = HandlersConfig {
            scan: scan_dir.unwrap_or_else(|| root_dir.clone()),
            root: root_dir,
            allow_outside_root: allow_handlers_outside_root_dir,
            map_file: None,
            encoding: handler_encoding,
            reload: false,
            reload_delay: Duration::ZERO,
            reload_poll: None,
        };
        let open = || Registry::open(&config, PythonLoader::new(config.encoding.clone())?);
        match detached(py, open) {
            Ok(registry) => Ok(Self(Source::Tree(Arc::new(registry)))),
            // pywebsocket: a directory that is not there has no handlers; how the two lie to each other
            // counts all the same.
            Err(StartError::Directory { .. }) => {
                let (root, scan) = (real_path(py, &config.root)?, real_path(py, &config.scan)?);
                if !scan.starts_with(&root) {
                    return Err(DISPATCH.error(py, StartError::ScanOutsideRoot { scan, root }.to_string()));
                }
                Ok(Self(Source::Nothing))
            }
            Err(error) => Err(DISPATCH.error(py, error.to_string())),
        }
    }

    /// Lets `alias_resource_path` be served by the handler of `existing_resource_path`.
    ///
    /// Raises `DispatchException` when there is none.
    fn add_resource_path_alias(
        &self,
        py: Python<'_>,
        alias_resource_path: &str,
        existing_resource_path: &str,
    ) -> PyResult<()> {
        let added = match &self.0 {
            Source::Tree(registry) => {
                detached(py, || registry.add_alias(alias_resource_path, existing_resource_path))
            }
            Source::Connection { .. } | Source::Nothing => false,
        };
        if added {
            return Ok(());
        }
        let resource = repr(PyString::new(py, existing_resource_path).as_any());
        Err(DISPATCH.error(py, format!("No handler for: {resource}")))
    }

    /// The handler files that could not be used, as `PATH: reason`.
    fn source_warnings(&self) -> Vec<String> {
        self.snapshot().warnings().to_vec()
    }

    /// The loaded handlers, by resource.
    #[getter]
    fn _handler_suite_map<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let map = PyDict::new(py);
        for (resource, handler) in self.snapshot().handlers() {
            map.set_item(resource, handler.suite.bind(py))?;
        }
        Ok(map)
    }

    /// The functions for a resource, query allowed; `None` when there is no handler.
    ///
    /// Raises `DispatchException` with status 400 for a handler's resource with a fragment.
    fn get_handler_suite<'py>(
        &self,
        py: Python<'py>,
        resource: &str,
    ) -> PyResult<Option<Bound<'py, HandlerSuite>>> {
        if let Source::Connection { handler, key, .. } = &self.0
            && handlers::lookup_key(resource) == (key.as_str(), false)
        {
            return Ok(Some(handler.suite.bind(py).clone()));
        }
        match self.snapshot().resolve(resource) {
            Ok(handler) => Ok(handler.map(|handler| handler.suite.bind(py).clone())),
            Err(error) => {
                let arguments = (error.to_string(), BAD_REQUEST).into_pyobject(py)?;
                Err(DISPATCH.error_with(&arguments))
            }
        }
    }

    /// Calls `web_socket_do_extra_handshake`.
    ///
    /// Raises `DispatchException` without a handler, `AbortedByUserException` when the handler aborts,
    /// `HandshakeException` with status 403 for any other exception of the handler.
    fn do_extra_handshake(&self, request: Bound<'_, PyAny>) -> PyResult<()> {
        let py = request.py();
        let suite = self.known_suite(&request)?;
        let Err(error) = call_handler(&suite.get().do_extra_handshake, &request) else {
            return Ok(());
        };
        if ABORTED_BY_USER.matches(py, &error) {
            LOG.log(py, Level::Debug, || traceback(py, &error));
            return Err(error);
        }
        if !error.is_instance_of::<PyException>(py) {
            return Err(error);
        }
        blame(&request, "web_socket_do_extra_handshake", &error);
        LOG.log(py, Level::Debug, || traceback(py, &error));
        let arguments: Bound<'_, PyTuple> = (error.value(py), FORBIDDEN).into_pyobject(py)?;
        let failure = HANDSHAKE_FAILED.error_with(&arguments);
        failure.set_cause(py, Some(error));
        Err(failure)
    }

    /// Calls `web_socket_transfer_data` and closes the connection with the code that its outcome asks for.
    ///
    /// Raises `DispatchException` without a handler, `AbortedByUserException` when the handler aborts, and
    /// any exception that is none of the package's own.
    pub(crate) fn transfer_data(&self, request: Bound<'_, PyAny>) -> PyResult<()> {
        self.run_transfer_data(&request).or_else(|error| end_of_transfer(&request, error))
    }

    /// Calls `web_socket_passive_closing_handshake`: code and reason for the reply to a close frame.
    fn passive_closing_handshake<'py>(&self, request: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = request.py();
        match self.suite(&request)? {
            Some(suite) => call(suite.get().passive_closing_handshake.bind(py), (request,)),
            None => default_passive_closing_handshake(request),
        }
    }
}

/// What an exception out of `web_socket_transfer_data` comes to: a close frame, or the exception for the server's log.
// Not inlined: a connection that waits for messages would keep its memory on the stack.
#[inline(never)]
fn end_of_transfer(request: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    let py = request.py();
    let end = End::of(py, &error);
    match end {
        End::Aborted => {
            LOG.log(py, Level::Debug, || traceback(py, &error));
            return Err(error);
        }
        End::NoMemory => {
            // The peer is told, and not waited for: the traceback keeps what the handler has.
            if let Err(error) = close(request, end, false) {
                LOG.log(py, Level::Debug, || traceback(py, &error));
            }
        }
        End::Failed => {}
        End::Exit => return Err(error),
        End::BadOperation
        | End::TooBig
        | End::InvalidFrame
        | End::UnsupportedFrame
        | End::InvalidUtf8
        | End::PeerGone => {
            LOG.log(py, Level::Debug, || error.value(py).to_string());
            return close(request, end, true);
        }
    }
    blame(request, "web_socket_transfer_data", &error);
    Err(error)
}

/// Sends the close frame that `end` asks for, if any; with `wait`, waits for the peer's.
fn close(request: &Bound<'_, PyAny>, end: End, wait: bool) -> PyResult<()> {
    let py = request.py();
    let Some(code) = end.close_code() else { return Ok(()) };
    let stream = request.getattr(intern!(py, "ws_stream"))?;
    let name = intern!(py, "close_connection");
    // A stream that a handler has put there need not know more than the reference's.
    let closed =
        if wait { stream.call_method1(name, (code,)) } else { stream.call_method1(name, (code, "", false)) };
    closed.map(drop)
}

/// `(alias, resource)`.
type Alias = (String, String);

/// The aliases of a map file as `(alias, resource)`, and a complaint for each line that says nothing.
///
/// Raises `OSError` when the file cannot be read, or is none, such as a FIFO.
#[pyfunction]
pub fn read_map_file(py: Python<'_>, path: PathBuf) -> PyResult<(Vec<Alias>, Vec<String>)> {
    let from = path.clone();
    let bytes = interruptible(py, move || read_regular(&from))??;
    let file = MapFile::parse(&path, &bytes);
    let aliases = file.aliases.into_iter().map(|alias| (alias.alias, alias.resource)).collect();
    let problems = file.problems.into_iter().map(|problem| match problem {
        MapProblem::Line(text) | MapProblem::Target(text) => text,
    });
    Ok((aliases, problems.collect()))
}

/// `os.path.realpath`: works for what is not there, too.
fn real_path(py: Python<'_>, path: &Path) -> PyResult<PathBuf> {
    py.import("os.path")?.call_method1(intern!(py, "realpath"), (path,))?.extract()
}

/// Whether a file of this name is taken for a handler file.
#[pyfunction(name = "_is_handler_name")]
#[must_use]
pub fn is_handler_name(name: PathBuf) -> bool {
    handlers::is_handler_name(name.as_os_str())
}

/// The resource that the handler file `path` serves when resources count from `root`; `None`: it serves none.
#[pyfunction(name = "_resource_of")]
#[must_use]
pub fn resource_of(root: PathBuf, path: PathBuf) -> Option<String> {
    handlers::resource_of(&root, &path)
}
