//! The server inside somebody else's Python process: what `pywebsocket3.websocket_server.WebSocketServer` runs.
//!
//! With `lib.rs` the only place that names both PyO3 and the server.

use std::env;
use std::ffi::OsString;
use std::mem;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::Condvar;
use pyo3::exceptions::{PyException, PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::bridge::load::loader::PythonLoader;
use crate::bridge::python;
use crate::bridge::python::detach::detached;
use crate::bridge::python::exceptions::start_error;
use crate::bridge::python::interruptible::interruptible;
use crate::bridge::python::thread::attach_as_thread;
use crate::bridge::run::dispatch::Dispatcher;
use crate::bridge::run::host::PythonHost;
use crate::config::{
    Config, DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_MAX_TOTAL_MESSAGE_SIZE, ListenConfig, PingConfig, PolicyConfig,
    Secret, TlsConfig, TlsParts,
};
use crate::deadline;
use crate::descriptors;
use crate::error::{StartError, TlsOptionsError};
use crate::handlers::{self, Registry};
use crate::http::cgi::{RulesError, ScriptRules, is_program};
use crate::http::{PolicyError, PolicySource};
use crate::locks::Lock;
use crate::panics;
use crate::per_process::{Inherited, Process};
use crate::server::{self, Asked, Listeners};
use crate::shutdown;
use crate::wire::limits::Limits;

/// How often a serving thread looks whether Python has a signal for it, such as Ctrl-C.
const SIGNAL_PERIOD: Duration = Duration::from_millis(50);

/// A server whose sockets are bound and that serves when it is told to.
#[pyclass(frozen, module = "wshost._native")]
pub struct Server {
    config: Arc<Config>,
    registry: Arc<Registry<PythonLoader>>,
    on_error: Option<Py<PyAny>>,
    options: Arc<Options>,
    limits: Arc<Limits>,
    /// `None` once closed.
    listeners: Lock<Option<Listeners>>,
    /// A child that is forked has the sockets, but does not serve: what its parent's thread does is not the child's.
    state: Inherited<State>,
}

/// What a server does in a process.
#[derive(Default)]
struct State {
    /// The stop of the `serve` call that is under way.
    serving: Lock<Option<CancellationToken>>,
    /// Notified with `serving` locked, when a `serve` call is over.
    served: Condvar,
}

/// What `options` say about pings: `ping_interval` and `ping_timeout`, in seconds.
fn ping_config(options: &Bound<'_, PyAny>) -> PyResult<Option<PingConfig>> {
    let seconds = |name, default: f64| {
        let seconds = options.getattr_opt(name)?.map_or(Ok(default), |value| value.extract())?;
        deadline::seconds(seconds).ok_or_else(|| {
            let text = format!("{name} must be a number of seconds from 0 to 1000000000, such as 20");
            PyValueError::new_err(text)
        })
    };
    let (interval, timeout) = (seconds("ping_interval", 0.0)?, seconds("ping_timeout", 20.0)?);
    if timeout.is_zero() {
        return Err(PyValueError::new_err("ping_timeout must be more than 0 seconds"));
    }
    Ok((!interval.is_zero()).then_some(PingConfig { interval, timeout }))
}

/// What `options` say about the size of messages: `max_message_size` and `max_total_message_size`, in bytes.
fn limits(options: &Bound<'_, PyAny>) -> PyResult<Arc<Limits>> {
    let bytes = |name, default: u64| {
        options.getattr_opt(name)?.map_or(Ok(default), |value| {
            value.extract().map_err(|_| {
                PyValueError::new_err(format!("{name} must be a number of bytes, such as {default}"))
            })
        })
    };
    let max_message_size = bytes("max_message_size", DEFAULT_MAX_MESSAGE_SIZE)?;
    let max_total_message_size = bytes("max_total_message_size", DEFAULT_MAX_TOTAL_MESSAGE_SIZE)?;
    Ok(Limits::new(max_message_size, max_total_message_size))
}

/// What `options` say about TLS, by pywebsocket's names.
fn tls_parts(options: &Bound<'_, PyAny>) -> PyResult<TlsParts> {
    let flag = |name| options.getattr_opt(name)?.map_or(Ok(false), |value| value.is_truthy());
    let path = |name| -> PyResult<Option<PathBuf>> {
        let path: Option<PathBuf> = options.getattr_opt(name)?.map_or(Ok(None), |value| value.extract())?;
        // The working directory may be another one when the file is read again.
        let path = path.filter(|path| !path.as_os_str().is_empty());
        Ok(path.map(|path| absolute(&path).unwrap_or(path)))
    };
    Ok(TlsParts {
        tls: flag("use_tls")?,
        self_signed: false,
        certificate: path("certificate")?,
        private_key: path("private_key")?,
        client_auth: flag("tls_client_auth")?,
        client_cert_optional: flag("tls_client_cert_optional")?,
        client_ca: path("tls_client_ca")?,
    })
}

/// What they mean to a server. pywebsocket's overlooks what needs TLS where there is none, and what needs client
/// authentication likewise.
fn tls_config(options: &Bound<'_, PyAny>) -> PyResult<Option<TlsConfig>> {
    let parts = tls_parts(options)?;
    let client_auth = parts.tls && parts.client_auth;
    let client_cert_optional = client_auth && parts.client_cert_optional;
    TlsParts { client_auth, client_cert_optional, ..parts }.resolve().map_err(|error| {
        let error = match error {
            TlsOptionsError::NoCertificate => TlsOptionsError::NoCertificateInOptions,
            other => other,
        };
        ssl_error(options.py(), &StartError::Tls(error))
    })
}

/// Looks at what `options` of a command line say about TLS, under pywebsocket's names.
///
/// Raises `ValueError` if they do not go together.
#[pyfunction]
pub fn check_tls_options(options: &Bound<'_, PyAny>) -> PyResult<()> {
    let resolved = tls_parts(options)?.resolve();
    resolved.map(drop).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// An `ssl.SSLError`, as Python's own server sockets raise it.
fn ssl_error(py: Python<'_>, error: &StartError) -> PyErr {
    let raised = py.import("ssl").and_then(|ssl| ssl.getattr("SSLError")?.call1((error.to_string(),)));
    raised.map_or_else(|error| error, PyErr::from_value)
}

#[pymethods]
impl Server {
    /// Binds `(host, port)` on every address that it names (`''`: all of the machine), port 0 for a free one.
    ///
    /// `options` is an object that is asked about each request: `use_basic_auth`, `basic_auth_credential`,
    /// `validation_host`, `validation_port`, `cgi_directories` (a list of paths such as `/cgi-bin`) and
    /// `is_executable_method` (called with the path of a file in one of them; whether it is a program); an attribute
    /// that it lacks has its default.
    ///
    /// TLS is that of `use_tls`, `certificate`, `private_key`, `tls_client_auth`, `tls_client_cert_optional` and
    /// `tls_client_ca` at the time of this call.
    ///
    /// What peers may make it hold is `max_message_size` and `max_total_message_size`, in bytes; they are asked whether they
    /// are there as `ping_interval` and `ping_timeout` say, in seconds. Likewise read at the time of this call.
    ///
    /// Raises `OSError` when no address can be had, its subclass `ssl.SSLError` when a certificate cannot be used.
    /// `on_error(exception, client_address)` is called on the
    /// connection's thread with what a handler raised.
    #[new]
    #[pyo3(signature = (dispatcher, host, port, backlog, options, *, reload=false, on_error=None))]
    #[allow(clippy::too_many_arguments, reason = "named by the caller")]
    fn new(
        py: Python<'_>,
        dispatcher: &Dispatcher,
        host: String,
        port: u16,
        backlog: i32,
        options: Py<PyAny>,
        reload: bool,
        on_error: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        panics::log();
        python::logging::keep_log(py)?;
        descriptors::keep_standard();
        let registry = dispatcher.registry()?;
        let mut config = Config {
            listen: ListenConfig {
                host: Some(host).filter(|host| !host.is_empty()),
                port,
                backlog,
                ..ListenConfig::default()
            },
            tls: tls_config(options.bind(py))?,
            ping: ping_config(options.bind(py))?,
            // pywebsocket: the working directory, whichever it is when a request comes.
            document_root: PathBuf::from("."),
            ..Config::default()
        };
        config.handlers.reload = reload;
        let limits = limits(options.bind(py))?;
        let files = config.clone();
        let checked = interruptible(py, move || server::check_certificates(&files))?;
        checked.map_err(|error| ssl_error(py, &error))?;
        let listen = config.listen.clone();
        let bound = interruptible(py, move || Listeners::bind(&listen))?;
        python::logging::hand_over(py)?;
        let listeners = bound.map_err(|error| start_error(&error))?;
        Ok(Self {
            config: Arc::new(config),
            registry,
            on_error,
            options: Arc::new(Options(options)),
            limits,
            listeners: Lock::new(Some(listeners)),
            state: Inherited::new(State::default),
        })
    }

    /// The options and the error function usually lead back to the server; the garbage collector has to see that.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.on_error)?;
        visit.call(&self.options.0)
    }

    /// The descriptors of the listening sockets; they stay the server's.
    fn filenos(&self) -> Vec<RawFd> {
        let listeners = self.listeners.lock();
        listeners.as_ref().map_or_else(Vec::new, Listeners::filenos)
    }

    /// Serves until `stop` or `close` is called from another thread or from a handler. Returns at once when the
    /// sockets are closed.
    ///
    /// In a child that is forked by code which runs meanwhile (a signal handler, a log handler), the call returns at once.
    ///
    /// Raises what a signal handler of Python raises, such as `KeyboardInterrupt`, once serving has stopped.
    fn serve(&self, py: Python<'_>) -> PyResult<()> {
        let stop = CancellationToken::new();
        // Before the sockets are looked at, so that a `close` from now on ends this call.
        *self.state.get().serving.lock() = Some(stop.clone());
        let result = match self.open_listeners() {
            Ok(Some(listeners)) => self.serve_until(py, listeners, &stop),
            Ok(None) => Ok(()),
            Err(error) => Err(start_error(&error)),
        };
        // Asked for again: a child that came back from code in `serve` has its own.
        let state = self.state.get();
        *state.serving.lock() = None;
        state.served.notify_all();
        result
    }

    /// Ends a `serve` call that is under way, and waits until it is over.
    fn stop(&self, py: Python<'_>) {
        detached(py, || {
            let State { serving, served } = self.state.get();
            let mut serving = serving.lock();
            if let Some(stop) = &*serving {
                shutdown::cancel(stop);
            }
            while serving.is_some() {
                served.wait(serving.guard());
            }
        });
    }

    /// Closes the listening sockets, and ends a `serve` call without waiting for it.
    fn close(&self) {
        self.listeners.lock().take();
        if let Some(stop) = &*self.state.get().serving.lock() {
            shutdown::cancel(stop);
        }
    }
}

impl Server {
    fn open_listeners(&self) -> Result<Option<Listeners>, StartError> {
        self.listeners.lock().as_ref().map(Listeners::try_clone).transpose()
    }

    fn serve_until(&self, py: Python<'_>, listeners: Listeners, stop: &CancellationToken) -> PyResult<()> {
        python::logging::keep_log(py)?;
        descriptors::keep_standard();
        let start = || -> Result<_, StartError> {
            let watcher = if self.config.handlers.reload {
                Some(handlers::watch(Arc::clone(&self.registry), &self.config.handlers)?)
            } else {
                None
            };
            let runtime = server::runtime()?;
            Ok((watcher, runtime))
        };
        let (watcher, runtime) = detached(py, start).map_err(|error| start_error(&error))?;
        let giver =
            python::logging::Giver::start().map_err(|error| start_error(&StartError::Runtime(error)))?;
        let host = PythonHost::new(Arc::clone(&self.registry), Arc::clone(&self.limits))
            .pinging(self.config.ping)
            .reporting_to(self.on_error.as_ref().map(|function| function.clone_ref(py)));
        let config = Arc::clone(&self.config);
        let (policy, scripts) = (Arc::clone(&self.options), Arc::clone(&self.options));
        let grace = config.grace;
        let run = server::run(listeners, config, Arc::new(host), Asked { policy, scripts }, stop.clone());
        // Waited for without the runtime's clock, which ends when a handler closes the runtime's descriptors.
        let (told, mut outcomes) = mpsc::channel();
        let task = runtime.spawn(run);
        runtime.spawn(async move { told.send(task.await) });
        let mut interrupted = Ok(());
        let process = Process::this();
        let mut end = None;
        let outcome = loop {
            let outcomes = &mut outcomes;
            match detached(py, move || outcomes.recv_timeout(SIGNAL_PERIOD)) {
                Ok(outcome) => break Some(outcome),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break None,
            }
            if stop.is_cancelled() {
                let end =
                    *end.get_or_insert_with(|| deadline::after(grace.saturating_add(shutdown::LAST_TIME)));
                if Instant::now() >= end {
                    break None;
                }
            }
            let called = python::logging::keep_log(py).and_then(|()| py.check_signals());
            if !process.is_this() {
                // To drop them would be to wait for threads that are not here, and to end what is the parent's.
                mem::forget((runtime, watcher, giver));
                return called;
            }
            match called {
                // Loggers that do not work are no reason to stop serving.
                Err(error) if error.is_instance_of::<PyException>(py) => error.write_unraisable(py, None),
                Err(error) if interrupted.is_ok() => {
                    interrupted = Err(error);
                    shutdown::cancel(stop);
                }
                _ => {}
            }
        };
        detached(py, || {
            runtime.shutdown_background();
            drop(watcher);
            giver.finish();
        });
        interrupted?;
        match outcome {
            Some(Ok(result)) => result.map_err(|error| start_error(&error)),
            // The panic was reported by the panic hook.
            Some(Err(error)) => Err(PyRuntimeError::new_err(error.to_string())),
            None => Err(PyRuntimeError::new_err(
                "the server's threads do not end; has a handler closed descriptors that are not its own?",
            )),
        }
    }
}

/// A Python object with the attributes of pywebsocket's options, which are read anew for each request.
struct Options(Py<PyAny>);

impl Options {
    /// The attribute `name`, unless it is missing or `None`.
    fn get<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.0.bind(py).getattr_opt(name)?.filter(|value| !value.is_none()))
    }
}

impl PolicySource for Options {
    fn policy(&self) -> Result<PolicyConfig, PolicyError> {
        attach_as_thread(|py| {
            let get = |name: &str| self.get(py, name);
            let read = || -> PyResult<PolicyConfig> {
                let wanted = get("use_basic_auth")?.map_or(Ok(false), |value| value.is_truthy())?;
                let credential = if wanted { get("basic_auth_credential")? } else { None };
                Ok(PolicyConfig {
                    validation_host: get("validation_host")?.and_then(|host| host.extract().ok()),
                    validation_port: get("validation_port")?.and_then(|port| port.extract().ok()),
                    // Authentication without a credential lets nobody in: no client can send this.
                    basic_auth: wanted.then(|| {
                        Secret::new(credential.map_or_else(|| "\n".to_owned(), |value| value.to_string()))
                    }),
                })
            };
            read().map_err(|error| PolicyError(error.to_string()))
        })
    }
}

impl ScriptRules for Options {
    fn directories(&self) -> Result<Vec<String>, RulesError> {
        attach_as_thread(|py| {
            let directories = self.get(py, "cgi_directories")?;
            directories.map_or(Ok(Vec::new()), |directories| directories.extract())
        })
        .map_err(rules_error)
    }

    fn is_executable(&self, path: &Path) -> Result<bool, RulesError> {
        let asked = attach_as_thread(|py| match self.get(py, "is_executable_method")? {
            Some(method) => method.call1((path.as_os_str(),))?.is_truthy().map(Some),
            None => Ok(None),
        });
        Ok(asked.map_err(rules_error)?.unwrap_or_else(|| is_program(path)))
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        // Python changes it attached only.
        Python::attach(|_| env::vars_os().collect())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn rules_error(error: PyErr) -> RulesError {
    RulesError(error.to_string())
}
