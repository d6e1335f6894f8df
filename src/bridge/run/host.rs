//! Runs handlers: one OS thread for each connection, attached to Python for the connection's life.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::bridge::api::connection::{Connection, address};
use crate::bridge::api::handshake::do_handshake;
use crate::bridge::api::request::Request;
use crate::bridge::load::loader::PythonLoader;
use crate::bridge::load::suite::Suite;
use crate::bridge::python::detach::{attached, detached, in_one_process};
use crate::bridge::python::exceptions::{self, ABORTED_BY_USER, HANDSHAKE_FAILED, Panicked, VERSION};
use crate::bridge::python::last_call::call;
use crate::bridge::python::logging::{Level, Logger, repr, settle, traceback};
use crate::bridge::python::thread::PythonThread;
use crate::bridge::run::connections::{Connections, Registration};
use crate::bridge::run::dispatch::Dispatcher;
use crate::config::PingConfig;
use crate::descriptors;
use crate::handlers::{ConnectionStatus, Handler, HandlerStatus, InUse, Monitor, Registry, Totals};
use crate::handover::{HandlerConnection, HandlerHost, ReadyHandler, UriFragmentError};
use crate::http::{RequestHead, error_response, version_response};
use crate::logging::LOG_SERVER;
use crate::threads;
use crate::wire::limits::Limits;
use crate::wire::socket::Socket;
use crate::wire::transport::Duplex;
use crate::wire::trim;

const INTERNAL_SERVER_ERROR: u16 = 500;

/// What a connection frees at its end, roughly, beside what went over it.
const OBJECTS: u64 = 64 << 10;

static LOG: Logger = Logger::new("pywebsocket3.request_handler.WebSocketRequestHandler");
static SERVER_LOG: Logger = Logger::new("pywebsocket3.websocket_server.WebSocketServer");

/// The handlers of a registry, ready to run.
pub struct PythonHost {
    registry: Arc<Registry<PythonLoader>>,
    on_error: Option<Arc<Py<PyAny>>>,
    server: ServerState,
}

/// What the connections of a server share.
#[derive(Clone)]
struct ServerState {
    connections: Arc<Connections>,
    limits: Arc<Limits>,
    ping: Option<PingConfig>,
}

impl PythonHost {
    /// A host for what `registry` has loaded, whose peers are held to `limits`.
    pub fn new(registry: Arc<Registry<PythonLoader>>, limits: Arc<Limits>) -> Self {
        exceptions::import_early();
        let server = ServerState { connections: Connections::new(), limits, ping: None };
        Self { registry, on_error: None, server }
    }

    /// Calls `on_error(exception, client_address)` with what a handler raised, instead of logging it.
    #[must_use]
    pub fn reporting_to(self, on_error: Option<Py<PyAny>>) -> Self {
        Self { on_error: on_error.map(Arc::new), ..self }
    }

    /// Asks peers that are silent whether they are there.
    #[must_use]
    pub fn pinging(self, ping: Option<PingConfig>) -> Self {
        Self { server: ServerState { ping, ..self.server }, ..self }
    }

    /// Logs the threads of handlers now and every `interval`, as long as the host is there.
    pub fn monitor_threads(&self, interval: Duration) -> io::Result<()> {
        threads::monitor(interval, Arc::downgrade(&self.server.connections), Connections::threads)
    }
}

impl HandlerHost for PythonHost {
    fn resolve(&self, resource: &str) -> Result<Option<Box<dyn ReadyHandler>>, UriFragmentError> {
        let snapshot = self.registry.snapshot();
        Ok(match snapshot.resolve(resource)? {
            Some(handler) => Some(Box::new(Ready {
                in_use: InUse::new(handler),
                registry: Arc::clone(&self.registry),
                on_error: self.on_error.clone(),
                server: self.server.clone(),
            })),
            None => None,
        })
    }

    fn close_connections(&self, grace: Duration) {
        let left = in_one_process(|| self.server.connections.close_all(grace));
        if left > 0 {
            tracing::warn!(target: LOG_SERVER, "{left} handlers do not end; leaving them behind");
        }
    }
}

impl Monitor for PythonHost {
    fn handlers(&self) -> Vec<HandlerStatus> {
        self.registry.snapshot().status()
    }

    fn connections(&self) -> Vec<ConnectionStatus> {
        self.server.connections.list()
    }

    fn totals(&self) -> Totals {
        self.server.connections.totals()
    }
}

/// A handler that waits for its connection, as it was when it was resolved.
struct Ready {
    in_use: InUse<Suite>,
    registry: Arc<Registry<PythonLoader>>,
    on_error: Option<Arc<Py<PyAny>>>,
    server: ServerState,
}

impl ReadyHandler for Ready {
    fn start(self: Box<Self>, connection: HandlerConnection) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let HandlerConnection { transport, unread, head, peer, local, is_https, trace } = connection;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // A request target has no NUL, which a thread's name must not have.
        let name = format!("wsh-{number} {}", head.target);
        let ServerState { connections, limits, ping } = self.server;
        let duplex = Duplex::new(transport, trace);
        let socket = Arc::new(Socket::new(duplex, &unread, peer, ping, limits));
        let mut registration =
            connections.add(number, name.clone(), head.target.clone(), Arc::clone(&socket));
        // In a box: moved from call to call by value it would take a page of each thread's stack.
        let task = Box::new(Task {
            handler: Arc::clone(self.in_use.handler()),
            registry: self.registry,
            on_error: self.on_error,
            socket: Arc::clone(&socket),
            head,
            local,
            is_https,
        });
        let in_use = self.in_use;
        threads::start(name, move || {
            let ending = registration.ending();
            // A panic is in the log (`panics`); it must not cost more than this connection, whose client would wait for
            // ever. What is used after it is the socket alone, which has no state that could be half changed.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                attached(|py| {
                    let _thread = PythonThread::begin(py);
                    in_one_process(|| task.run(py, registration));
                });
            }));
            descriptors::keep_standard();
            let totals = socket.counters.totals();
            trim::freed(OBJECTS + totals.bytes_received + totals.bytes_sent);
            drop(in_use);
            ending.close(&socket);
        })
    }
}

/// A connection and its handler, on their thread.
struct Task {
    handler: Arc<Handler<Suite>>,
    registry: Arc<Registry<PythonLoader>>,
    on_error: Option<Arc<Py<PyAny>>>,
    socket: Arc<Socket>,
    head: RequestHead,
    local: (String, u16),
    is_https: bool,
}

impl Task {
    /// The life of a connection. Whatever happens in it stays in it.
    fn run(self: Box<Self>, py: Python<'_>, registration: Registration) {
        let socket = Arc::clone(&self.socket);
        let on_error = self.on_error.clone();
        // What the server has logged comes before what the handler logs.
        settle(py);
        let (protocol, method) = (self.head.protocol.clone(), self.head.method.clone());
        match catch_unwind(AssertUnwindSafe(|| self.serve(py, &registration))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) if !error.is_instance_of::<Panicked>(py) => {
                report(py, &error, socket.peer, on_error.as_deref());
            }
            Ok(Err(_)) | Err(_) => registration
                .apologize(py, || error_response(&protocol, &method, INTERNAL_SERVER_ERROR, None, None)),
        }
    }

    fn serve(self: Box<Self>, py: Python<'_>, registration: &Registration) -> PyResult<()> {
        let Some((request, dispatcher)) = self.shake_hands(py)? else {
            return Ok(());
        };
        registration.opened(request.clone().unbind());
        match dispatcher.get().transfer_data(request) {
            Err(error) if ABORTED_BY_USER.matches(py, &error) => {
                log_abort(py, &error);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// The opening handshake: the request and its dispatcher, or `None` when the peer was refused. What it needs is
    /// gone after it, so that an idle connection does not keep the request's head twice.
    #[inline(never)]
    #[expect(clippy::boxed_local, reason = "out of its box it would take room on this thread's stack")]
    fn shake_hands(
        self: Box<Self>,
        py: Python<'_>,
    ) -> PyResult<Option<(Bound<'_, PyAny>, Bound<'_, Dispatcher>)>> {
        let connection = Connection::new(py, Arc::clone(&self.socket), self.local, &self.head.raw)?;
        let connection = Bound::new(py, connection)?;
        let request = Request::create(py, &self.head, connection, self.is_https)?.into_any();
        let dispatcher = Dispatcher::of_connection(self.handler, &self.head.target, self.registry);
        let dispatcher = Bound::new(py, dispatcher)?;
        if let Err(error) = do_handshake(request.clone(), dispatcher.clone().into_any()) {
            let Some(page) = refusal(py, error, &self.head)? else {
                return Ok(None);
            };
            if let Err(error) = detached(py, || self.socket.write(&page, &[])) {
                // A peer that is gone does not get its error page.
                LOG.log(py, Level::Debug, || {
                    format!("Error page not sent to {:?}: {error}", self.socket.peer)
                });
            }
            return Ok(None);
        }
        request.setattr("_dispatcher", &dispatcher)?;
        Ok(Some((request, dispatcher)))
    }
}

fn log_abort(py: Python<'_>, error: &PyErr) {
    LOG.log(py, Level::Info, || format!("Aborted: {}", error.value(py)));
}

/// Says that a handler failed: to the one who asked to be told, else in the log. Others than `Exception` (`SystemExit`,
/// ...) end the thread without a word, as in the reference.
#[inline(never)]
fn report(py: Python<'_>, error: &PyErr, peer: SocketAddr, on_error: Option<&Py<PyAny>>) {
    if !error.is_instance_of::<PyException>(py) {
        return;
    }
    let Some(on_error) = on_error else {
        SERVER_LOG.log(py, Level::Error, || {
            let peer = address(py, peer).map_or_else(|_| peer.to_string(), |peer| repr(&peer.into_any()));
            format!("Exception in processing request from: {peer}\n{}", traceback(py, error))
        });
        return;
    };
    let told = address(py, peer).and_then(|peer| call(on_error.bind(py), (error.value(py), peer)));
    if let Err(error) = told {
        error.write_unraisable(py, Some(on_error.bind(py)));
    }
}

/// What the peer gets for an opening handshake that ended in `error`: an error page, or nothing when the handler
/// aborted. Errors that have no answer come back.
fn refusal(py: Python<'_>, error: PyErr, head: &RequestHead) -> PyResult<Option<Vec<u8>>> {
    let value = error.value(py);
    if ABORTED_BY_USER.matches(py, &error) {
        log_abort(py, &error);
        return Ok(None);
    }
    if VERSION.matches(py, &error) {
        LOG.log(py, Level::Info, || format!("Handshake failed for version error: {value}"));
        let supported = value.getattr("supported_versions")?.str()?;
        return Ok(Some(version_response(&supported.to_string_lossy())));
    }
    if HANDSHAKE_FAILED.matches(py, &error) {
        LOG.log(py, Level::Info, || format!("Handshake failed for error: {value}"));
        let status = value.getattr("status")?.extract()?;
        return Ok(Some(error_response(&head.protocol, &head.method, status, None, None)));
    }
    Err(error)
}
