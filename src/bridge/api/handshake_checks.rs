//! The functions of `handshake.base` and `handshake.hybi`: what the opening handshake checks in a request, one rule
//! each (RFC 6455 section 4.2.1). They work on any object with the request's attributes.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bridge::api::frames::encode_text;
use crate::bridge::python::cached::intern;
use crate::bridge::python::convert::with_bytes;
use crate::bridge::python::exceptions::HANDSHAKE_FAILED;
use crate::bridge::python::logging::{quoted, repr};
use crate::websocket::handshake::accept_key;
use crate::websocket::header::{self, TokenListError};

pub(crate) const BAD_REQUEST: u16 = 400;

pub(crate) fn failed(py: Python<'_>, text: String) -> PyErr {
    HANDSHAKE_FAILED.error(py, text)
}

pub(crate) fn failed_with(py: Python<'_>, text: String, status: u16) -> PyErr {
    match (text, status).into_pyobject(py) {
        Ok(arguments) => HANDSHAKE_FAILED.error_with(&arguments),
        Err(error) => error,
    }
}

/// `request.headers_in.get(key)`.
pub(crate) fn header(request: &Bound<'_, PyAny>, key: &str) -> PyResult<Option<String>> {
    request
        .getattr(intern!(request.py(), "headers_in"))?
        .call_method1(intern!(request.py(), "get"), (key,))?
        .extract()
}

/// The value of a header field. Raises `HandshakeException` when it is missing.
#[pyfunction]
pub fn get_mandatory_header(request: Bound<'_, PyAny>, key: &str) -> PyResult<String> {
    header(&request, key)?.ok_or_else(|| failed(request.py(), format!("Header {key} is not defined")))
}

/// Raises `HandshakeException` (with `fail_status`) unless a header field has a value, in any letter case.
#[pyfunction]
#[pyo3(signature = (request, key, expected_value, fail_status=None))]
pub fn validate_mandatory_header(
    request: Bound<'_, PyAny>,
    key: &str,
    expected_value: &str,
    fail_status: Option<u16>,
) -> PyResult<()> {
    let py = request.py();
    let value = get_mandatory_header(request, key)?;
    if value.to_lowercase() == expected_value.to_lowercase() {
        return Ok(());
    }
    let (expected, found) = (quoted(py, expected_value), quoted(py, &value));
    let text = format!("Expected {expected} for header {key} but found {found} (case-insensitive)");
    Err(match fail_status {
        Some(status) => failed_with(py, text, status),
        None => failed(py, text),
    })
}

/// The elements of a header value that is a list of tokens. Raises `HandshakeException` when it is not.
#[pyfunction]
pub fn parse_token_list(py: Python<'_>, data: &str) -> PyResult<Vec<String>> {
    header::parse_token_list(data).map_err(|error| {
        failed(
            py,
            match error {
                TokenListError::ExpectedComma { found } => {
                    format!("Expected a comma but found {}", quoted(py, &found.to_string()))
                }
                TokenListError::Empty => "No valid token found".to_owned(),
            },
        )
    })
}

/// Raises `HandshakeException` unless the subprotocol is a token (RFC 6455 section 4.1).
#[pyfunction]
pub fn validate_subprotocol(py: Python<'_>, subprotocol: Bound<'_, PyAny>) -> PyResult<()> {
    if !subprotocol.is_truthy()? {
        return Err(failed(py, "Invalid subprotocol name: empty".to_owned()));
    }
    let chars: Vec<char> = subprotocol.extract::<String>()?.chars().collect();
    let end = header::consume_token(&chars, 0).unwrap_or(0);
    match chars.get(end) {
        None => Ok(()),
        Some(rest) => {
            let rest = quoted(py, &rest.to_string());
            Err(failed(py, format!("Invalid non-token string in subprotocol name: {rest}")))
        }
    }
}

/// Host and port of the `Host` field; the port is the scheme's where none is given.
///
/// Raises `HandshakeException` for a port that is no number.
#[pyfunction]
pub fn parse_host_header(request: Bound<'_, PyAny>) -> PyResult<(String, Bound<'_, PyAny>)> {
    let py = request.py();
    let host: String = request.getattr(intern!(request.py(), "headers_in"))?.get_item("Host")?.extract()?;
    match host.split_once(':') {
        None => Ok((
            host,
            get_default_port(request.call_method0(intern!(request.py(), "is_https"))?)?
                .into_bound_py_any(py)?,
        )),
        Some((name, port)) => match py.get_type::<pyo3::types::PyInt>().call1((port,)) {
            Ok(number) => Ok((name.to_owned(), number)),
            Err(error) => {
                Err(failed(py, format!("Invalid port number format: {}", repr(error.value(py).as_any()))))
            }
        },
    }
}

/// 443 for secure connections, else 80.
#[pyfunction]
pub fn get_default_port(is_secure: Bound<'_, PyAny>) -> PyResult<u16> {
    Ok(if is_secure.is_truthy()? { 443 } else { 80 })
}

/// Raises `HandshakeException` unless the request line is `GET ... HTTP/1.1` (RFC 6455 section 4.1).
#[pyfunction]
pub fn check_request_line(request: Bound<'_, PyAny>) -> PyResult<()> {
    let py = request.py();
    let method = request.getattr(intern!(request.py(), "method"))?;
    if !method.eq("GET")? {
        return Err(failed(py, format!("Method is not GET: {}", repr(&method))));
    }
    let protocol = request.getattr(intern!(request.py(), "protocol"))?;
    if !protocol.eq("HTTP/1.1")? {
        return Err(failed(py, format!("Version is not HTTP/1.1: {}", repr(&protocol))));
    }
    Ok(())
}

/// The `Sec-WebSocket-Accept` value for a key in bytes (RFC 6455 section 4.2.2).
#[pyfunction]
pub fn compute_accept(key: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyBytes>> {
    let accept = with_bytes(&key, accept_key)?;
    Ok(PyBytes::new(key.py(), accept.as_bytes()))
}

/// The `Sec-WebSocket-Accept` value for a key in `str`.
#[pyfunction]
pub fn compute_accept_from_unicode(unicode_key: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyBytes>> {
    compute_accept(encode_text(&unicode_key)?)
}

/// A header line with its line end.
#[pyfunction]
pub fn format_header(name: Bound<'_, PyAny>, value: Bound<'_, PyAny>) -> PyResult<String> {
    Ok(format!("{}: {}\r\n", name.str()?.to_str()?, value.str()?.to_str()?))
}
