//! The `request` of a handler.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use super::connection::Connection;
use crate::http::head::RequestHead;

/// A request for a handler's resource: the one object that all three functions of a connection get.
///
/// It is an attribute bag: what the opening handshake finds (`ws_resource`, `ws_origin`, ...) and what
/// handlers hang on it live in its `__dict__`. It hashes by identity and may be used from any thread.
#[pyclass(frozen, dict, weakref, subclass, module = "wshost")]
pub struct Request {
    /// The request target as sent, query included.
    #[pyo3(get)]
    uri: String,
    /// The request target as sent, query included.
    #[pyo3(get)]
    unparsed_uri: String,
    /// The request method.
    #[pyo3(get)]
    method: String,
    /// The protocol of the request line, `HTTP/1.1`.
    #[pyo3(get)]
    protocol: String,
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
        let request = Bound::new(
            py,
            Self {
                uri: head.target.clone(),
                unparsed_uri: head.target.clone(),
                method: head.method.clone(),
                protocol: head.protocol.clone(),
                is_https,
            },
        )?;
        let handler = RequestHandler {
            client_address: connection.get().remote_addr(py),
            headers: headers.clone().unbind(),
            path: head.target.clone(),
            command: head.method.clone(),
            request_version: head.protocol.clone(),
        };
        request.setattr("_request_handler", Bound::new(py, handler)?)?;
        request.setattr("connection", connection)?;
        request.setattr("headers_in", headers)?;
        Ok(request)
    }
}

#[pymethods]
impl Request {
    /// See `uri`.
    fn get_uri(&self) -> &str {
        &self.uri
    }

    /// See `unparsed_uri`.
    fn get_unparsed_uri(&self) -> &str {
        &self.unparsed_uri
    }

    /// See `method`.
    fn get_method(&self) -> &str {
        &self.method
    }

    /// See `protocol`.
    fn get_protocol(&self) -> &str {
        &self.protocol
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
    path: String,
    /// The request method.
    command: String,
    /// The protocol of the request line.
    request_version: String,
}

/// The header fields as Python's `http.client.HTTPMessage`, as in the reference: names in any case, `None`
/// for a missing one, `get_all` for repeated ones.
fn headers_in<'py>(py: Python<'py>, headers: &[(String, String)]) -> PyResult<Bound<'py, PyAny>> {
    static MESSAGE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let message = MESSAGE.import(py, "http.client", "HTTPMessage")?.call0()?;
    for (name, value) in headers {
        message.call_method1("set_raw", (name, value))?;
    }
    Ok(message)
}
