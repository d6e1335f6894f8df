//! The opening handshake: `handshake.base.HandshakerBase` and `handshake.hybi.Handshaker`.
//!
//! It works on any object with the request's attributes: the server's own and those of wptserve's HTTP/2 path,
//! which subclasses [`HandshakerBase`].

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::bridge::api::extension_parameters::{format_extensions, parse_extensions};
use crate::bridge::api::extensions::{PERMESSAGE_DEFLATE, get_extension_processor};
use crate::bridge::api::handshake_checks::{
    BAD_REQUEST, check_request_line, failed, failed_with, format_header, get_mandatory_header, header,
    parse_token_list, validate_mandatory_header, validate_subprotocol,
};
use crate::bridge::api::stream::Stream;
use crate::bridge::api::stream_options::StreamOptions;
use crate::bridge::python::cached::{Cached, intern};
use crate::bridge::python::convert::unpack_pair;
use crate::bridge::python::exceptions::{EXTENSION_PARSING, HANDSHAKE_FAILED, VERSION};
use crate::bridge::python::logging::{Level, Logger, quoted, repr};
use crate::websocket::handshake::{accept_key, is_valid_key};

static LOG: Logger = Logger::new("pywebsocket3.handshake.hybi.Handshaker");
static MODULE_LOG: Logger = Logger::new("pywebsocket3.handshake");

const SUPPORTED_VERSION: &str = "13";

/// The opening handshake without the parts that depend on how the request came (HTTP/1.1 or HTTP/2).
///
/// Subclasses say how: `_protocol_rfc`, `_transform_header`, `_validate_request`, `_set_accept`,
/// `_send_handshake`.
#[pyclass(frozen, dict, subclass, module = "pywebsocket3.handshake.base")]
pub struct HandshakerBase;

fn left_to_subclasses() -> PyErr {
    PyAssertionError::new_err("subclasses should implement this method")
}

#[pymethods]
impl HandshakerBase {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(request, dispatcher)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self
    }

    /// A handshaker that answers `request` and asks `dispatcher` for its handler.
    fn __init__(
        slf: &Bound<'_, Self>,
        request: Bound<'_, PyAny>,
        dispatcher: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        static GET_LOGGER: Cached<Py<PyAny>> = Cached::new();
        let py = slf.py();
        let class = slf.get_type();
        let name = format!("{}.{}", class.module()?, class.name()?);
        let logger = GET_LOGGER.import(py, "logging", "getLogger")?.call1((name,))?;
        slf.setattr(intern!(py, "_logger"), logger)?;
        slf.setattr(intern!(py, "_request"), request)?;
        slf.setattr(intern!(py, "_dispatcher"), dispatcher)
    }

    /// The name of the RFC that the subclass implements.
    #[allow(clippy::unused_self, reason = "subclasses override it")]
    fn _protocol_rfc(&self) -> PyResult<()> {
        Err(left_to_subclasses())
    }

    /// A header field's name as the subclass's transport has it (HTTP/2: in lower case).
    #[allow(clippy::unused_self, reason = "subclasses override it")]
    fn _transform_header(&self, header: Bound<'_, PyAny>) -> PyResult<()> {
        drop(header);
        Err(left_to_subclasses())
    }

    /// Checks what the transport makes mandatory.
    #[allow(clippy::unused_self, reason = "subclasses override it")]
    fn _validate_request(&self) -> PyResult<()> {
        Err(left_to_subclasses())
    }

    /// Computes what proves to the client that it was understood.
    #[allow(clippy::unused_self, reason = "subclasses override it")]
    fn _set_accept(&self) -> PyResult<()> {
        Err(left_to_subclasses())
    }

    /// Sends the response.
    #[allow(clippy::unused_self, reason = "subclasses override it")]
    fn _send_handshake(&self) -> PyResult<()> {
        Err(left_to_subclasses())
    }

    /// The whole handshake: checks the request, calls the handler, negotiates extensions, makes
    /// `request.ws_stream`, sends the response.
    ///
    /// Raises `HandshakeException` with the HTTP status to answer with, `VersionException`, and what the
    /// handler raises to abort.
    fn do_handshake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let request = slf.getattr(intern!(slf.py(), "_request"))?;
        request.setattr(intern!(request.py(), "ws_close_code"), py.None())?;
        request.setattr(intern!(request.py(), "ws_close_reason"), py.None())?;
        slf.call_method0(intern!(slf.py(), "_validate_request"))?;
        request
            .setattr(intern!(request.py(), "ws_resource"), request.getattr(intern!(request.py(), "uri"))?)?;
        request.setattr(
            intern!(request.py(), "ws_version"),
            slf.call_method0(intern!(slf.py(), "_check_version"))?,
        )?;
        Self::negotiate(slf, &request).inspect_err(|error| {
            if HANDSHAKE_FAILED.matches(py, error) {
                let value = error.value(py);
                let undecided =
                    value.getattr("status").and_then(|status| status.is_truthy()).is_ok_and(|set| !set);
                if undecided && let Err(error) = value.setattr("status", BAD_REQUEST) {
                    error.write_unraisable(py, Some(value));
                }
            }
        })
    }

    /// The protocol version, 13. Raises `VersionException` for another, `HandshakeException` for several.
    fn _check_version(slf: &Bound<'_, Self>) -> PyResult<u32> {
        let py = slf.py();
        let name = transformed(slf, "Sec-WebSocket-Version")?;
        let version = get_mandatory_header(slf.getattr(intern!(slf.py(), "_request"))?, &name)?;
        if version == SUPPORTED_VERSION {
            return Ok(13);
        }
        let found = quoted(py, &version);
        if version.contains(',') {
            let text = format!("Multiple versions ({found}) are not allowed for header {name}");
            return Err(failed_with(py, text, BAD_REQUEST));
        }
        let text = format!("Unsupported version {found} for header {name}");
        let arguments = PyTuple::new(py, [text.as_str(), SUPPORTED_VERSION])?;
        Err(VERSION.error_with(&arguments))
    }

    /// Sets `request.ws_origin`.
    fn _get_origin(slf: &Bound<'_, Self>) -> PyResult<()> {
        let request = slf.getattr(intern!(slf.py(), "_request"))?;
        let origin = header(&request, &transformed(slf, "Origin")?)?;
        request.setattr(intern!(request.py(), "ws_origin"), origin)
    }

    /// Sets `request.ws_protocol` to `None` and `request.ws_requested_protocols` to what the client offers;
    /// also `request.sts`, Mozilla's addition.
    fn _set_protocol(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let request = slf.getattr(intern!(slf.py(), "_request"))?;
        request.setattr(intern!(request.py(), "ws_protocol"), py.None())?;
        request.setattr(intern!(request.py(), "sts"), py.None())?;
        let offered = header(&request, &transformed(slf, "Sec-WebSocket-Protocol")?)?;
        let protocols = offered.map(|offered| parse_token_list(py, &offered)).transpose()?;
        if let Some(protocols) = &protocols {
            LOG.log(py, Level::Debug, || format!("Subprotocols requested: {protocols:?}"));
        }
        request.setattr(intern!(request.py(), "ws_requested_protocols"), protocols)
    }

    /// Sets `request.ws_requested_extensions`.
    fn _parse_extensions(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let request = slf.getattr(intern!(slf.py(), "_request"))?;
        let offered = header(&request, &transformed(slf, "Sec-WebSocket-Extensions")?)?;
        let Some(offered) = offered.filter(|offered| !offered.is_empty()) else {
            return request.setattr(intern!(request.py(), "ws_requested_extensions"), py.None());
        };
        let extensions = parse_extensions(py, &offered).map_err(|error| {
            if EXTENSION_PARSING.matches(py, &error) {
                let error = repr(error.value(py).as_any());
                failed(py, format!("Failed to parse sec-websocket-extensions header: {error}"))
            } else {
                error
            }
        })?;
        LOG.log(py, Level::Debug, || format!("Extensions requested: {offered:?}"));
        request.setattr(intern!(request.py(), "ws_requested_extensions"), extensions)
    }

    /// The processors for the extensions that the client offers and we know.
    fn _get_extension_processors_requested<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let processors = PyList::empty(slf.py());
        let offers = slf
            .getattr(intern!(slf.py(), "_request"))?
            .getattr(intern!(slf.py(), "ws_requested_extensions"))?;
        if !offers.is_none() {
            for offer in offers.try_iter()? {
                if let Some(processor) = get_extension_processor(offer?)? {
                    processors.append(processor)?;
                }
            }
        }
        Ok(processors)
    }

    /// Lets the processors answer, sets `request.ws_extensions` to what was accepted, and puts their filters
    /// into the options. The first one accepted wins: all of them compress.
    fn _process_extensions(slf: &Bound<'_, Self>, stream_options: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let request = slf.getattr(intern!(slf.py(), "_request"))?;
        let active = |processor: &Bound<'_, PyAny>| {
            processor.call_method0(intern!(processor.py(), "is_active"))?.is_truthy()
        };
        let mut processors = Vec::new();
        for processor in request.getattr(intern!(request.py(), "ws_extension_processors"))?.try_iter()? {
            let processor = processor?;
            if !processor.is_none() {
                processors.push(processor);
            }
        }
        let all = PyList::new(py, &processors)?;
        for processor in processors.iter().rev() {
            if active(processor)? {
                processor.call_method1(
                    intern!(processor.py(), "check_consistency_with_other_processors"),
                    (&all,),
                )?;
            }
        }
        let mut candidates = Vec::new();
        for processor in processors {
            if active(&processor)? {
                candidates.push(processor);
            }
        }
        let accepted = PyList::empty(py);
        let mut deflate = false;
        for (index, processor) in candidates.iter().enumerate() {
            if !active(processor)? {
                continue;
            }
            let response = processor.call_method0(intern!(processor.py(), "get_extension_response"))?;
            if response.is_none() {
                continue;
            }
            deflate |= response.call_method0(intern!(response.py(), "name"))?.eq(PERMESSAGE_DEFLATE)?;
            accepted.append(response)?;
            processor.call_method1(intern!(processor.py(), "setup_stream_options"), (&stream_options,))?;
            for other in &candidates[index + 1..] {
                other.call_method1(intern!(other.py(), "set_active"), (false,))?;
            }
        }
        request.setattr(intern!(request.py(), "ws_deflate"), deflate)?;
        if accepted.is_empty() {
            request.setattr(intern!(request.py(), "ws_extensions"), py.None())
        } else {
            LOG.log(py, Level::Debug, || {
                format!(
                    "Extensions accepted: {}",
                    format_extensions(accepted.clone().into_any()).unwrap_or_default()
                )
            });
            request.setattr(intern!(request.py(), "ws_extensions"), accepted)
        }
    }
}

/// A header field's name as the handshaker's transport has it.
fn transformed(slf: &Bound<'_, HandshakerBase>, name: &str) -> PyResult<String> {
    slf.call_method1(intern!(slf.py(), "_transform_header"), (name,))?.extract()
}

impl HandshakerBase {
    /// The part of the handshake whose failures are answered with 400 unless they say otherwise.
    fn negotiate(slf: &Bound<'_, Self>, request: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        slf.call_method0(intern!(slf.py(), "_get_origin"))?;
        slf.call_method0(intern!(slf.py(), "_set_protocol"))?;
        slf.call_method0(intern!(slf.py(), "_parse_extensions"))?;
        slf.call_method0(intern!(slf.py(), "_set_accept"))?;
        let rfc = slf.call_method0(intern!(slf.py(), "_protocol_rfc"))?;
        LOG.log(py, Level::Debug, || format!("Protocol version is {rfc}"));
        let processors = slf.call_method0(intern!(slf.py(), "_get_extension_processors_requested"))?;
        request.setattr(intern!(request.py(), "ws_extension_processors"), processors)?;
        request.setattr(intern!(request.py(), "extra_headers"), PyList::empty(py))?;
        request.setattr(intern!(request.py(), "ws_deflate"), false)?;
        slf.getattr(intern!(slf.py(), "_dispatcher"))?
            .call_method1(intern!(slf.py(), "do_extra_handshake"), (request,))?;
        let options = Bound::new(py, StreamOptions::default())?.into_any();
        slf.call_method1(intern!(slf.py(), "_process_extensions"), (&options,))?;
        let stream = Bound::new(py, Stream::new(py, request.clone().unbind(), options.unbind())?)?;
        request.setattr(intern!(request.py(), "ws_stream"), stream)?;
        let chosen = request.getattr(intern!(request.py(), "ws_protocol"))?;
        if request.getattr(intern!(request.py(), "ws_requested_protocols"))?.is_none() {
            if !chosen.is_none() {
                let text = "ws_protocol must be None when the client didn't request any subprotocol";
                return Err(failed(py, text.to_owned()));
            }
        } else if chosen.is_none() {
            let text = "do_extra_handshake must choose one subprotocol from ws_requested_protocols \
                        and set it to ws_protocol";
            return Err(failed(py, text.to_owned()));
        } else {
            validate_subprotocol(py, chosen)?;
        }
        slf.call_method0(intern!(slf.py(), "_send_handshake")).map(drop)
    }
}

/// The opening handshake over HTTP/1.1 (RFC 6455 section 4.2).
#[pyclass(frozen, extends = HandshakerBase, subclass, module = "pywebsocket3.handshake.hybi")]
pub struct Handshaker;

#[pymethods]
impl Handshaker {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(request, dispatcher)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(HandshakerBase).add_subclass(Self)
    }

    /// A handshaker that answers `request` and asks `dispatcher` for its handler.
    fn __init__(
        slf: &Bound<'_, Self>,
        request: Bound<'_, PyAny>,
        dispatcher: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        HandshakerBase::__init__(slf.as_super(), request, dispatcher)
    }

    /// `RFC 6455`.
    #[allow(clippy::unused_self, reason = "a method in the reference")]
    fn _protocol_rfc(&self) -> &'static str {
        "RFC 6455"
    }

    /// The name as it is.
    #[allow(clippy::unused_self, reason = "a method in the reference")]
    fn _transform_header<'py>(&self, header: Bound<'py, PyAny>) -> Bound<'py, PyAny> {
        header
    }

    /// Checks request line, `Upgrade`, `Connection` and `Host`.
    fn _validate_request(slf: &Bound<'_, Self>) -> PyResult<()> {
        let request = slf.getattr(intern!(slf.py(), "_request"))?;
        check_request_line(request.clone())?;
        validate_mandatory_header(request.clone(), "Upgrade", "websocket", None)?;
        slf.call_method0(intern!(slf.py(), "_validate_connection_header"))?;
        get_mandatory_header(request, "Host").map(drop)
    }

    /// Checks that `Connection` has the token `Upgrade`.
    fn _validate_connection_header(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let connection = get_mandatory_header(slf.getattr(intern!(slf.py(), "_request"))?, "Connection")?;
        let tokens = parse_token_list(py, &connection).map_err(|error| {
            if HANDSHAKE_FAILED.matches(py, &error) {
                failed(py, format!("Failed to parse Connection: {}", error.value(py)))
            } else {
                error
            }
        })?;
        if tokens.iter().any(|token| token.to_lowercase() == "upgrade") {
            return Ok(());
        }
        Err(failed(py, "Connection header doesn't contain \"Upgrade\"".to_owned()))
    }

    /// Sets `request._accept`.
    fn _set_accept(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let key: String = slf.call_method0(intern!(slf.py(), "_get_key"))?.extract()?;
        let accept = PyBytes::new(py, accept_key(key.as_bytes()).as_bytes());
        LOG.log(py, Level::Debug, || {
            format!("Sec-WebSocket-Key: {}, accept: {}", quoted(py, &key), repr(&accept))
        });
        slf.getattr(intern!(slf.py(), "_request"))?.setattr(intern!(slf.py(), "_accept"), accept)
    }

    /// The client's key, checked with `_validate_key`.
    fn _get_key(slf: &Bound<'_, Self>) -> PyResult<String> {
        let key = get_mandatory_header(slf.getattr(intern!(slf.py(), "_request"))?, "Sec-WebSocket-Key")?;
        slf.call_method1(intern!(slf.py(), "_validate_key"), (&key,))?;
        Ok(key)
    }

    /// Raises `HandshakeException` unless the key is one, base64 of 16 bytes (RFC 6455 section 4.1).
    #[allow(clippy::unused_self, reason = "a method in the reference")]
    fn _validate_key(&self, py: Python<'_>, key: &str) -> PyResult<()> {
        let found = quoted(py, key);
        if key.contains(',') {
            let text = format!(
                "Request has multiple Sec-WebSocket-Key header lines or contains illegal character ',': {found}"
            );
            return Err(failed(py, text));
        }
        if is_valid_key(key) {
            return Ok(());
        }
        Err(failed(py, format!("Illegal value for header Sec-WebSocket-Key: {found}")))
    }

    /// The response as `str`; `extra_headers` stand in it verbatim.
    fn _create_handshake_response(slf: &Bound<'_, Self>, accept: Bound<'_, PyAny>) -> PyResult<String> {
        let py = slf.py();
        let request = slf.getattr(intern!(slf.py(), "_request"))?;
        let accept: String = accept.call_method1("decode", ("utf-8",))?.extract()?;
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n"
        );
        let mut add = |name: &str, value: Bound<'_, PyAny>| -> PyResult<()> {
            response.push_str(&format_header(PyString::new(py, name).into_any(), value)?);
            Ok(())
        };
        let protocol = request.getattr(intern!(request.py(), "ws_protocol"))?;
        if !protocol.is_none() {
            add("Sec-WebSocket-Protocol", protocol)?;
        }
        let extensions = request.getattr(intern!(request.py(), "ws_extensions"))?;
        if extensions.is_truthy()? {
            add("Sec-WebSocket-Extensions", format_extensions(extensions)?.into_bound_py_any(py)?)?;
        }
        // Mozilla's patch to pywebsocket, which Firefox's test 41 relies on.
        if let Some(sts) = request.getattr_opt("sts")?
            && !sts.is_none()
        {
            add("Strict-Transport-Security", sts)?;
        }
        for pair in request.getattr(intern!(request.py(), "extra_headers"))?.try_iter()? {
            let (name, value) = unpack_pair(&pair?)?;
            response.push_str(&format_header(name, value)?);
        }
        response.push_str("\r\n");
        Ok(response)
    }

    /// Sends the response.
    fn _send_handshake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let request = slf.getattr(intern!(slf.py(), "_request"))?;
        let accept = request.getattr(intern!(request.py(), "_accept"))?;
        let response = slf.call_method1(intern!(slf.py(), "_create_handshake_response"), (accept,))?;
        let bytes = response.call_method1(intern!(response.py(), "encode"), ("utf-8",))?;
        request
            .getattr(intern!(request.py(), "connection"))?
            .call_method1(intern!(request.py(), "write"), (bytes,))?;
        LOG.log(py, Level::Debug, || format!("Sent server's opening handshake: {}", repr(&response)));
        Ok(())
    }
}

/// Performs the opening handshake of `request`, whose handler `dispatcher` knows.
///
/// Raises `HandshakeException` with the HTTP status to answer with, `VersionException`, and
/// `AbortedByUserException` when the handler aborts.
#[pyfunction]
pub fn do_handshake(request: Bound<'_, PyAny>, dispatcher: Bound<'_, PyAny>) -> PyResult<()> {
    let py = request.py();
    MODULE_LOG.log(py, Level::Debug, || {
        let resource =
            request.getattr(intern!(request.py(), "uri")).map_or_else(|_| String::new(), |uri| repr(&uri));
        format!("Client's opening handshake resource: {resource}")
    });
    MODULE_LOG.log(py, Level::Debug, || {
        let items = request
            .getattr(intern!(request.py(), "headers_in"))
            .and_then(|headers| headers.call_method0("items"));
        let items = items.map_or_else(|_| String::new(), |items| repr(&items));
        format!("Client's opening handshake headers: {items}")
    });
    let handshaker = py.get_type::<Handshaker>().call1((request, dispatcher))?;
    match handshaker.call_method0("do_handshake") {
        Ok(_) => {
            MODULE_LOG.log(py, Level::Info, || "Established (RFC 6455 protocol)".to_owned());
            Ok(())
        }
        Err(error)
            if HANDSHAKE_FAILED.matches(py, &error) && !error.value(py).getattr("status")?.is_truthy()? =>
        {
            MODULE_LOG.log(py, Level::Debug, || {
                format!("Failed to complete opening handshake as RFC 6455 protocol: {}", error.value(py))
            });
            let text = "Failed to complete opening handshake for all available protocols".to_owned();
            let failure = failed_with(py, text, BAD_REQUEST);
            failure.set_cause(py, Some(error));
            Err(failure)
        }
        Err(error) => Err(error),
    }
}
