//! The `request` of a handler.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use crate::bridge::api::connection::Connection;
use crate::bridge::python::cached::{Cached, intern};
use crate::http::RequestHead;

/// A request for a handler's resource: the one object that all three functions of a connection get.
///
/// It is an attribute bag: what the opening handshake finds (`ws_resource`, `ws_origin`, ...) and what
/// handlers hang on it live in its `__dict__`. It hashes by identity and may be used from any thread.
#[pyclass(frozen, dict, weakref, subclass, module = "wshost")]
pub struct Request {
    /// The request target as sent, query included.
    #[pyo3(get)]
    uri: Py<PyString>,
    /// The request target as sent, query included.
    #[pyo3(get)]
    unparsed_uri: Py<PyString>,
    /// The request method.
    #[pyo3(get)]
    method: Py<PyString>,
    /// The protocol of the request line, `HTTP/1.1`.
    #[pyo3(get)]
    protocol: Py<PyString>,
    is_https: bool,
}

impl Request {
    /// The request of a connection, with `connection`, `headers_in` and `_request_handler` set.
    pub(crate) fn create<'py>(
        py: Python<'py>,
        head: &RequestHead,
        connection: Bound<'py, Connection>,
        is_https: bool,
    ) -> PyResult<Bound<'py, Self>> {
        let headers = headers_in(py, &head.headers)?;
        let target = PyString::new(py, &head.target).unbind();
        let method = shared(py, &head.method).unbind();
        let protocol = shared(py, &head.protocol).unbind();
        let handler = RequestHandler {
            client_address: connection.get().remote_addr(py),
            headers: headers.clone().unbind(),
            path: target.clone_ref(py),
            command: method.clone_ref(py),
            request_version: protocol.clone_ref(py),
        };
        let request = Self { uri: target.clone_ref(py), unparsed_uri: target, method, protocol, is_https };
        let request = Bound::new(py, request)?;
        request.setattr(intern!(request.py(), "_request_handler"), Bound::new(py, handler)?)?;
        request.setattr(intern!(request.py(), "connection"), connection)?;
        request.setattr(intern!(request.py(), "headers_in"), headers)?;
        Ok(request)
    }
}

#[pymethods]
impl Request {
    /// See `uri`.
    fn get_uri(&self, py: Python<'_>) -> Py<PyString> {
        self.uri.clone_ref(py)
    }

    /// See `unparsed_uri`.
    fn get_unparsed_uri(&self, py: Python<'_>) -> Py<PyString> {
        self.unparsed_uri.clone_ref(py)
    }

    /// See `method`.
    fn get_method(&self, py: Python<'_>) -> Py<PyString> {
        self.method.clone_ref(py)
    }

    /// See `protocol`.
    fn get_protocol(&self, py: Python<'_>) -> Py<PyString> {
        self.protocol.clone_ref(py)
    }

    /// Whether the client came over TLS.
    fn is_https(&self) -> bool {
        self.is_https
    }
}

/// `request._request_handler`: the few attributes of the reference's HTTP handler that handlers read.
#[pyclass(frozen, get_all, module = "wshost")]
pub struct RequestHandler {
    /// The client's address.
    client_address: Py<PyTuple>,
    /// The request's header fields, the same object as `request.headers_in`.
    headers: Py<PyAny>,
    /// The request target.
    path: Py<PyString>,
    /// The request method.
    command: Py<PyString>,
    /// The protocol of the request line.
    request_version: Py<PyString>,
}

#[pymethods]
impl RequestHandler {
    /// A handler may hang its request on the fields; the garbage collector has to see that.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.headers)
    }
}

/// The header fields as Python's `http.client.HTTPMessage`, as in the reference: names in any case, `None`
/// for a missing one, `get_all` for repeated ones.
fn headers_in<'py>(py: Python<'py>, headers: &[(String, String)]) -> PyResult<Bound<'py, PyAny>> {
    static MESSAGE: Cached<Py<PyType>> = Cached::new();
    let message = MESSAGE.import(py, "http.client", "HTTPMessage")?.call0()?;
    for (name, value) in headers {
        message.call_method1(intern!(py, "set_raw"), (shared(py, name), value))?;
    }
    Ok(message)
}

/// What nearly all requests have in common: methods, protocols, and names of fields as browsers and clients spell them.
const COMMON: [&str; 34] = [
    "GET",
    "HTTP/1.1",
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Cache-Control",
    "Connection",
    "Cookie",
    "DNT",
    "Host",
    "Origin",
    "Pragma",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Upgrade",
    "User-Agent",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "connection",
    "host",
    "origin",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "upgrade",
    "user-agent",
];

/// `text` as Python has it. Thousands of connections share what is common. Nothing else that a client sends may be
/// interned: since Python 3.12 that stays in memory to the end of the process.
fn shared<'py>(py: Python<'py>, text: &str) -> Bound<'py, PyString> {
    if COMMON.contains(&text) { PyString::intern(py, text) } else { PyString::new(py, text) }
}
