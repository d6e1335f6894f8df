//! Extension negotiation: the processors of the `extensions` module, above all that of permessage-deflate
//! (RFC 7692).
//!
//! Processors keep their state in their `__dict__`, as handlers and the reference's tests read it there.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::bridge::api::deflate_framer::DeflateFramer;
use crate::bridge::api::extension_parameters::ExtensionParameter;
use crate::bridge::api::util::{PyMessageDeflater, PyMessageInflater};
use crate::bridge::python::cached::intern;
use crate::bridge::python::logging::{Level, Logger, repr};
use crate::websocket::deflate::MAX_WINDOW_BITS;

/// The extension's name in the handshake (RFC 7692 section 7).
pub(crate) const PERMESSAGE_DEFLATE: &str = "permessage-deflate";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";

static LOG: Logger = Logger::new("pywebsocket3.extensions.PerMessageDeflateExtensionProcessor");

/// The base of extension processors. A processor answers one offer of the client.
#[pyclass(frozen, dict, subclass, module = "pywebsocket3.extensions")]
pub struct ExtensionProcessorInterface;

#[pymethods]
impl ExtensionProcessorInterface {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(request)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self
    }

    /// A processor for an offer, an `ExtensionParameter`.
    fn __init__(slf: &Bound<'_, Self>, request: Bound<'_, PyAny>) -> PyResult<()> {
        slf.setattr(intern!(slf.py(), "_request"), request)?;
        slf.setattr(intern!(slf.py(), "_active"), true)
    }

    /// The client's offer.
    fn request<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr(intern!(slf.py(), "_request"))
    }

    /// The processor's name; none for the base.
    #[allow(clippy::unused_self, reason = "subclasses override it")]
    fn name(&self) -> Option<&'static str> {
        None
    }

    /// Called with all processors before the response; may deactivate others or itself.
    #[allow(clippy::unused_self, reason = "subclasses override it")]
    fn check_consistency_with_other_processors(&self, processors: Bound<'_, PyAny>) {
        drop(processors);
    }

    /// Switches the processor on or off.
    fn set_active(slf: &Bound<'_, Self>, active: Bound<'_, PyAny>) -> PyResult<()> {
        slf.setattr(intern!(slf.py(), "_active"), active)
    }

    /// Whether the processor takes part.
    fn is_active<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr(intern!(slf.py(), "_active"))
    }

    /// What to accept; `None` declines. For subclasses.
    #[allow(clippy::unused_self, reason = "subclasses override it")]
    fn _get_extension_response_internal(&self) -> Option<Py<PyAny>> {
        None
    }

    /// The accepted extension as an `ExtensionParameter`, or `None`, which deactivates the processor.
    fn get_extension_response<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !slf.getattr(intern!(slf.py(), "_active"))?.is_truthy()? {
            return Ok(None);
        }
        let response = slf.call_method0(intern!(slf.py(), "_get_extension_response_internal"))?;
        if response.is_none() {
            slf.setattr(intern!(slf.py(), "_active"), false)?;
            return Ok(None);
        }
        Ok(Some(response))
    }

    /// Puts the processor's filters into the stream's options. For subclasses.
    #[allow(clippy::unused_self, reason = "subclasses override it")]
    fn _setup_stream_options_internal(&self, stream_options: Bound<'_, PyAny>) {
        drop(stream_options);
    }

    /// Puts the processor's filters into the stream's options, if it is active.
    fn setup_stream_options(slf: &Bound<'_, Self>, stream_options: Bound<'_, PyAny>) -> PyResult<()> {
        if slf.getattr(intern!(slf.py(), "_active"))?.is_truthy()? {
            slf.call_method1(intern!(slf.py(), "_setup_stream_options_internal"), (stream_options,))?;
        }
        Ok(())
    }
}

/// Window bits from a parameter's value: 8 to 15 in plain digits (RFC 7692 section 7.1.2.1).
fn window_bits(value: Option<&str>) -> Option<u8> {
    let value = value?;
    let bits: u8 = value.parse().ok()?;
    ((8..=15).contains(&bits) && bits.to_string() == value).then_some(bits)
}

/// A parameter's value as window bits. Raises `ValueError` for anything but 8 to 15 in plain digits.
#[pyfunction(name = "_parse_window_bits")]
pub fn parse_window_bits(bits: Option<&str>) -> PyResult<u8> {
    window_bits(bits).ok_or_else(|| PyValueError::new_err(format!("{bits:?} is no number from 8 to 15")))
}

/// permessage-deflate.
#[pyclass(frozen, extends = ExtensionProcessorInterface, subclass, module = "pywebsocket3.extensions")]
pub struct PerMessageDeflateExtensionProcessor;

#[pymethods]
impl PerMessageDeflateExtensionProcessor {
    // pywebsocket's own client reads the parameters' names (RFC 7692 section 7.1) off the class.
    #[classattr]
    const _SERVER_MAX_WINDOW_BITS_PARAM: &'static str = SERVER_MAX_WINDOW_BITS;
    #[classattr]
    const _SERVER_NO_CONTEXT_TAKEOVER_PARAM: &'static str = SERVER_NO_CONTEXT_TAKEOVER;
    #[classattr]
    const _CLIENT_MAX_WINDOW_BITS_PARAM: &'static str = CLIENT_MAX_WINDOW_BITS;
    #[classattr]
    const _CLIENT_NO_CONTEXT_TAKEOVER_PARAM: &'static str = CLIENT_NO_CONTEXT_TAKEOVER;

    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(request)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(ExtensionProcessorInterface).add_subclass(Self)
    }

    /// A processor for an offer, an `ExtensionParameter`.
    fn __init__(slf: &Bound<'_, Self>, request: Bound<'_, PyAny>) -> PyResult<()> {
        ExtensionProcessorInterface::__init__(slf.as_super(), request)?;
        slf.setattr(intern!(slf.py(), "_preferred_client_max_window_bits"), slf.py().None())?;
        slf.setattr(intern!(slf.py(), "_client_no_context_takeover"), false)
    }

    /// `deflate`, as ever; not the extension's name.
    #[allow(clippy::unused_self, reason = "a method in the reference")]
    fn name(&self) -> &'static str {
        "deflate"
    }

    /// The response to the client's offer (RFC 7692 section 7.1), or `None` to decline.
    fn _get_extension_response_internal<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<Option<Bound<'py, ExtensionParameter>>> {
        let py = slf.py();
        let offer = slf.getattr(intern!(slf.py(), "_request"))?;
        let Some(offered) = Offer::read(&offer)? else {
            return Ok(None);
        };
        let framer =
            Bound::new(py, DeflateFramer::new(py, offered.server_bits, offered.server_no_context_takeover))?;
        framer.get().deflation.enable();
        slf.setattr(intern!(slf.py(), "_framer"), framer)?;
        let deflater = PyMessageDeflater::new(offered.server_bits, offered.server_no_context_takeover);
        slf.setattr("_rfc1979_deflater", Bound::new(py, deflater)?)?;
        slf.setattr("_rfc1979_inflater", Bound::new(py, PyMessageInflater::new(MAX_WINDOW_BITS))?)?;

        let response = ExtensionParameter::create(offer.call_method0(intern!(offer.py(), "name"))?)?;
        let parameters = ExtensionParameter::get_parameters(&response)?;
        let add =
            |name: &str, value: Option<String>| parameters.call_method1("append", ((name, value),)).map(drop);
        if let Some(bits) = offered.server_bits {
            add(SERVER_MAX_WINDOW_BITS, Some(bits.to_string()))?;
        }
        if offered.server_no_context_takeover {
            add(SERVER_NO_CONTEXT_TAKEOVER, None)?;
        }
        let preferred = slf.getattr(intern!(slf.py(), "_preferred_client_max_window_bits"))?;
        if !preferred.is_none() {
            if !offered.client_bits {
                LOG.log(py, Level::Debug, || {
                    format!("Configured to use {CLIENT_MAX_WINDOW_BITS} but the client cannot accept it")
                });
                return Ok(None);
            }
            add(CLIENT_MAX_WINDOW_BITS, Some(preferred.str()?.to_string()))?;
        }
        if slf.getattr(intern!(slf.py(), "_client_no_context_takeover"))?.is_truthy()? {
            add(CLIENT_NO_CONTEXT_TAKEOVER, None)?;
        }
        LOG.log(py, Level::Debug, || {
            format!("Enable {PERMESSAGE_DEFLATE} extension ({})", repr(&parameters))
        });
        Ok(Some(response))
    }

    fn _setup_stream_options_internal(
        slf: &Bound<'_, Self>,
        stream_options: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        slf.getattr(intern!(slf.py(), "_framer"))?
            .call_method1(intern!(slf.py(), "setup_stream_options"), (stream_options,))
            .map(drop)
    }

    /// Adds `client_max_window_bits=value` to the response; an offer that does not allow it is declined.
    fn set_client_max_window_bits(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        slf.setattr(intern!(slf.py(), "_preferred_client_max_window_bits"), value)
    }

    /// Adds `client_no_context_takeover` to the response.
    fn set_client_no_context_takeover(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        slf.setattr(intern!(slf.py(), "_client_no_context_takeover"), value)
    }

    /// Whether outgoing messages end with a final DEFLATE block. Raises `AttributeError` before the response.
    fn set_bfinal(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        slf.getattr(intern!(slf.py(), "_framer"))?
            .call_method1(intern!(slf.py(), "set_bfinal"), (value,))
            .map(drop)
    }

    /// Outgoing messages are compressed (the default). Raises `AttributeError` before the response.
    fn enable_outgoing_compression(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.getattr(intern!(slf.py(), "_framer"))?
            .call_method1(intern!(slf.py(), "set_compress_outgoing_enabled"), (true,))
            .map(drop)
    }

    /// Outgoing messages are sent as they are. Raises `AttributeError` before the response.
    fn disable_outgoing_compression(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.getattr(intern!(slf.py(), "_framer"))?
            .call_method1(intern!(slf.py(), "set_compress_outgoing_enabled"), (false,))
            .map(drop)
    }
}

/// A client's offer, read.
struct Offer {
    server_bits: Option<u8>,
    server_no_context_takeover: bool,
    /// Whether the client lets us choose its window.
    client_bits: bool,
}

impl Offer {
    /// `None`: the offer has a parameter or a value that RFC 7692 section 7.1 does not allow.
    fn read(offer: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let py = offer.py();
        let decline = |text: String| {
            LOG.log(py, Level::Debug, || text);
            Ok(None)
        };
        for name in offer.call_method0(intern!(offer.py(), "get_parameter_names"))?.try_iter()? {
            let name: String = name?.extract()?;
            let known = [
                SERVER_MAX_WINDOW_BITS,
                SERVER_NO_CONTEXT_TAKEOVER,
                CLIENT_MAX_WINDOW_BITS,
                CLIENT_NO_CONTEXT_TAKEOVER,
            ];
            if !known.contains(&name.as_str()) {
                return decline(format!("Unknown parameter: {name:?}"));
            }
        }
        let has = |name: &str| offer.call_method1(intern!(offer.py(), "has_parameter"), (name,))?.is_truthy();
        let value = |name: &str| {
            offer
                .call_method1(intern!(offer.py(), "get_parameter_value"), (name,))?
                .extract::<Option<String>>()
        };
        let server_bits = if has(SERVER_MAX_WINDOW_BITS)? {
            let text = value(SERVER_MAX_WINDOW_BITS)?;
            let bits = window_bits(text.as_deref());
            if bits.is_none() {
                return decline(format!("Bad {SERVER_MAX_WINDOW_BITS} parameter: {text:?}"));
            }
            bits
        } else {
            None
        };
        // `client_no_context_takeover` only tells what the client will do (RFC 7692 section 7.1.1.2).
        for name in [SERVER_NO_CONTEXT_TAKEOVER, CLIENT_MAX_WINDOW_BITS, CLIENT_NO_CONTEXT_TAKEOVER] {
            if value(name)?.is_some() {
                return decline(format!("{name} parameter must not have a value in an offer"));
            }
        }
        Ok(Some(Self {
            server_bits,
            server_no_context_takeover: has(SERVER_NO_CONTEXT_TAKEOVER)?,
            client_bits: has(CLIENT_MAX_WINDOW_BITS)?,
        }))
    }
}

/// The processor for an offer, or `None` when its extension is unknown.
#[pyfunction]
pub fn get_extension_processor(extension_request: Bound<'_, PyAny>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let py = extension_request.py();
    let name: String = extension_request
        .call_method0("name")?
        .extract()
        .map_err(|_| PyValueError::new_err("an extension's name must be a str"))?;
    if name != PERMESSAGE_DEFLATE {
        return Ok(None);
    }
    py.get_type::<PerMessageDeflateExtensionProcessor>().call1((extension_request,)).map(Some)
}
