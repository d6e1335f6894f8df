//! Extension negotiation: `common.ExtensionParameter`, the `extensions` module and permessage-deflate
//! (RFC 7692).
//!
//! Processors keep their state in their `__dict__`, as handlers and the reference's tests read it there.

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use super::connection::with_bytes;
use super::detach::detached;
use super::exceptions::EXTENSION_PARSING;
use super::frames::encode_text;
use super::limits::max_message_size;
use super::python_logging::{Level, Logger, repr};
use super::util::{
    DEFLATER_LOG, INFLATER_LOG, MAX_WINDOW_BITS, PyMessageDeflater, PyMessageInflater, inflate_error,
};
use crate::websocket::deflate::{MessageDeflater, MessageInflater};
use crate::websocket::frame::opcode;
use crate::websocket::header;

/// The extension's name in the handshake (RFC 7692 section 7).
pub(crate) const PERMESSAGE_DEFLATE: &str = "permessage-deflate";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";

/// Messages up to this size are (de)compressed without giving the GIL away: it takes less time.
const DETACH_ABOVE: usize = 2048;

static LOG: Logger = Logger::new("pywebsocket3.extensions.PerMessageDeflateExtensionProcessor");
static FRAMER_LOG: Logger = Logger::new("pywebsocket3.extensions._PerMessageDeflateFramer");

/// An extension with its parameters, as offered or accepted (RFC 6455 section 9.1).
///
/// `_name` and `_parameters` are plain attributes; the latter is a list of `(name, value)` pairs, the value
/// `None` where there is none.
#[pyclass(frozen, dict, subclass, module = "pywebsocket3.common")]
pub struct ExtensionParameter;

#[pymethods]
impl ExtensionParameter {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(name)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self
    }

    /// An extension without parameters.
    fn __init__(slf: &Bound<'_, Self>, name: Bound<'_, PyAny>) -> PyResult<()> {
        slf.setattr("_name", name)?;
        slf.setattr("_parameters", PyList::empty(slf.py()))
    }

    /// The extension's name.
    fn name<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr("_name")
    }

    /// Adds a parameter; `None` for one without a value.
    fn add_parameter(slf: &Bound<'_, Self>, name: Bound<'_, PyAny>, value: Bound<'_, PyAny>) -> PyResult<()> {
        Self::get_parameters(slf)?.call_method1("append", ((name, value),)).map(drop)
    }

    /// The list of `(name, value)` pairs itself.
    fn get_parameters<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr("_parameters")
    }

    /// The names, repeated ones included.
    fn get_parameter_names<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        Self::get_parameters(slf)?.try_iter()?.map(|pair| pair?.get_item(0)).collect()
    }

    /// Whether there is a parameter of this name.
    fn has_parameter(slf: &Bound<'_, Self>, name: Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(Self::find(slf, &name)?.is_some())
    }

    /// The value of the first parameter of this name, `None` when there is none.
    fn get_parameter_value<'py>(
        slf: &Bound<'py, Self>,
        name: Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Self::find(slf, &name)?.map(|pair| pair.get_item(1)).transpose()
    }
}

impl ExtensionParameter {
    fn create(name: Bound<'_, PyAny>) -> PyResult<Bound<'_, Self>> {
        let extension = Bound::new(name.py(), Self)?;
        Self::__init__(&extension, name)?;
        Ok(extension)
    }

    fn find<'py>(slf: &Bound<'py, Self>, name: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        for pair in Self::get_parameters(slf)?.try_iter()? {
            let pair = pair?;
            if pair.get_item(0)?.eq(name)? {
                return Ok(Some(pair));
            }
        }
        Ok(None)
    }
}

/// The extensions of a `Sec-WebSocket-Extensions` value.
///
/// Raises `ExtensionParsingException` for what the grammar does not allow, and for a value without any.
#[pyfunction]
pub fn parse_extensions<'py>(py: Python<'py>, data: &str) -> PyResult<Bound<'py, PyList>> {
    let extensions =
        header::parse_extensions(data).map_err(|error| EXTENSION_PARSING.error(py, error.to_string()))?;
    let list = PyList::empty(py);
    for extension in extensions {
        let parameter = ExtensionParameter::create(PyString::new(py, &extension.name).into_any())?;
        parameter.setattr("_parameters", extension.parameters)?;
        list.append(parameter)?;
    }
    Ok(list)
}

/// An extension as it stands in a header; values that are no token are quoted.
#[pyfunction]
pub fn format_extension(extension: Bound<'_, PyAny>) -> PyResult<String> {
    let name = extension.call_method0("name")?.extract()?;
    let parameters = extension.call_method0("get_parameters")?.extract()?;
    Ok(header::format_extension(&header::Extension { name, parameters }))
}

/// Extensions as they stand in a header, with commas between.
#[pyfunction]
pub fn format_extensions(extension_list: Bound<'_, PyAny>) -> PyResult<String> {
    let formatted = extension_list.try_iter()?.map(|extension| format_extension(extension?));
    Ok(formatted.collect::<PyResult<Vec<_>>>()?.join(", "))
}

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
        slf.setattr("_request", request)?;
        slf.setattr("_active", true)
    }

    /// The client's offer.
    fn request<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr("_request")
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
        slf.setattr("_active", active)
    }

    /// Whether the processor takes part.
    fn is_active<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr("_active")
    }

    /// What to accept; `None` declines. For subclasses.
    #[allow(clippy::unused_self, reason = "subclasses override it")]
    fn _get_extension_response_internal(&self) -> Option<Py<PyAny>> {
        None
    }

    /// The accepted extension as an `ExtensionParameter`, or `None`, which deactivates the processor.
    fn get_extension_response<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !slf.getattr("_active")?.is_truthy()? {
            return Ok(None);
        }
        let response = slf.call_method0("_get_extension_response_internal")?;
        if response.is_none() {
            slf.setattr("_active", false)?;
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
        if slf.getattr("_active")?.is_truthy()? {
            slf.call_method1("_setup_stream_options_internal", (stream_options,))?;
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
        slf.setattr("_preferred_client_max_window_bits", slf.py().None())?;
        slf.setattr("_client_no_context_takeover", false)
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
        let offer = slf.getattr("_request")?;
        let Some(offered) = Offer::read(&offer)? else {
            return Ok(None);
        };
        let framer =
            Bound::new(py, DeflateFramer::new(offered.server_bits, offered.server_no_context_takeover))?;
        framer.get().outgoing.lock().enabled = true;
        slf.setattr("_framer", framer)?;
        let deflater = PyMessageDeflater::new(offered.server_bits, offered.server_no_context_takeover);
        slf.setattr("_rfc1979_deflater", Bound::new(py, deflater)?)?;
        slf.setattr("_rfc1979_inflater", Bound::new(py, PyMessageInflater::new(MAX_WINDOW_BITS))?)?;

        let response = ExtensionParameter::create(offer.call_method0("name")?)?;
        let parameters = ExtensionParameter::get_parameters(&response)?;
        let add =
            |name: &str, value: Option<String>| parameters.call_method1("append", ((name, value),)).map(drop);
        if let Some(bits) = offered.server_bits {
            add(SERVER_MAX_WINDOW_BITS, Some(bits.to_string()))?;
        }
        if offered.server_no_context_takeover {
            add(SERVER_NO_CONTEXT_TAKEOVER, None)?;
        }
        let preferred = slf.getattr("_preferred_client_max_window_bits")?;
        if !preferred.is_none() {
            if !offered.client_bits {
                LOG.log(py, Level::Debug, || {
                    format!("Configured to use {CLIENT_MAX_WINDOW_BITS} but the client cannot accept it")
                });
                return Ok(None);
            }
            add(CLIENT_MAX_WINDOW_BITS, Some(preferred.str()?.to_string()))?;
        }
        if slf.getattr("_client_no_context_takeover")?.is_truthy()? {
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
        slf.getattr("_framer")?.call_method1("setup_stream_options", (stream_options,)).map(drop)
    }

    /// Adds `client_max_window_bits=value` to the response; an offer that does not allow it is declined.
    fn set_client_max_window_bits(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        slf.setattr("_preferred_client_max_window_bits", value)
    }

    /// Adds `client_no_context_takeover` to the response.
    fn set_client_no_context_takeover(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        slf.setattr("_client_no_context_takeover", value)
    }

    /// Whether outgoing messages end with a final DEFLATE block. Raises `AttributeError` before the response.
    fn set_bfinal(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<()> {
        slf.getattr("_framer")?.call_method1("set_bfinal", (value,)).map(drop)
    }

    /// Outgoing messages are compressed (the default). Raises `AttributeError` before the response.
    fn enable_outgoing_compression(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.getattr("_framer")?.call_method1("set_compress_outgoing_enabled", (true,)).map(drop)
    }

    /// Outgoing messages are sent as they are. Raises `AttributeError` before the response.
    fn disable_outgoing_compression(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.getattr("_framer")?.call_method1("set_compress_outgoing_enabled", (false,)).map(drop)
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
        for name in offer.call_method0("get_parameter_names")?.try_iter()? {
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
        let has = |name: &str| offer.call_method1("has_parameter", (name,))?.is_truthy();
        let value =
            |name: &str| offer.call_method1("get_parameter_value", (name,))?.extract::<Option<String>>();
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

/// What a framer knows of the messages it sends.
struct Outgoing {
    deflater: MessageDeflater,
    bfinal: bool,
    enabled: bool,
    /// A compressed message was begun and has fragments to come.
    ongoing: bool,
    /// The next frame gets RSV1.
    mark_next_frame: bool,
}

impl Outgoing {
    fn compress(&mut self, data: &[u8], end: bool) -> Vec<u8> {
        let compressed = self.deflater.filter(data, end, self.bfinal);
        if !self.ongoing {
            self.mark_next_frame = true;
        }
        self.ongoing = !end;
        compressed
    }
}

/// What a framer knows of the messages it receives.
struct Incoming {
    inflater: MessageInflater,
    /// The message that is being received had RSV1 on its first frame.
    inflate_next: bool,
}

/// (De)compresses the messages of a connection and sets RSV1 on their first frames (RFC 7692 section 6). The
/// directions share no lock: a thread that sends does not wait for one that receives.
#[pyclass(name = "_PerMessageDeflateFramer", frozen, module = "pywebsocket3.extensions")]
pub struct DeflateFramer {
    outgoing: Mutex<Outgoing>,
    incoming: Mutex<Incoming>,
}

/// Runs `work` on the data, detached from Python when it takes long enough to be worth it.
fn maybe_detached<T: Send>(py: Python<'_>, data: &[u8], work: impl FnOnce(&[u8]) -> T + Send) -> T {
    if data.len() > DETACH_ABOVE { detached(py, || work(data)) } else { work(data) }
}

#[pymethods]
impl DeflateFramer {
    /// A framer that deflates with this window (`None`: the largest); it sends messages as they are until
    /// `set_compress_outgoing_enabled`.
    #[new]
    fn new(deflate_max_window_bits: Option<u8>, deflate_no_context_takeover: bool) -> Self {
        let bits = deflate_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        Self {
            outgoing: Mutex::new(Outgoing {
                deflater: MessageDeflater::new(bits, deflate_no_context_takeover),
                bfinal: false,
                enabled: false,
                ongoing: false,
                mark_next_frame: false,
            }),
            incoming: Mutex::new(Incoming {
                // Any window the client uses fits into the largest one.
                inflater: MessageInflater::new(MAX_WINDOW_BITS),
                inflate_next: false,
            }),
        }
    }

    /// See `PerMessageDeflateExtensionProcessor.set_bfinal`.
    fn set_bfinal(&self, value: Bound<'_, PyAny>) -> PyResult<()> {
        let value = value.is_truthy()?;
        self.outgoing.lock().bfinal = value;
        Ok(())
    }

    /// See `PerMessageDeflateExtensionProcessor.enable_outgoing_compression`.
    fn set_compress_outgoing_enabled(&self, value: Bound<'_, PyAny>) -> PyResult<()> {
        let value = value.is_truthy()?;
        self.outgoing.lock().enabled = value;
        Ok(())
    }

    /// Adds the filters to `StreamOptions`; text is encoded here from now on.
    fn setup_stream_options(slf: &Bound<'_, Self>, stream_options: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let framer = || slf.clone().unbind();
        let add = |list: &str, filter: Bound<'_, PyAny>| {
            stream_options.getattr(list)?.call_method1("append", (filter,)).map(drop)
        };
        add("outgoing_message_filters", Bound::new(py, OutgoingMessageFilter(framer()))?.into_any())?;
        add("incoming_message_filters", Bound::new(py, IncomingMessageFilter(framer()))?.into_any())?;
        add("outgoing_frame_filters", Bound::new(py, OutgoingFrameFilter(framer()))?.into_any())?;
        add("incoming_frame_filters", Bound::new(py, IncomingFrameFilter(framer()))?.into_any())?;
        stream_options.setattr("encode_text_message_to_utf8", false)
    }
}

/// Compresses messages.
#[pyclass(name = "_OutgoingMessageFilter", frozen, module = "pywebsocket3.extensions")]
pub struct OutgoingMessageFilter(Py<DeflateFramer>);

#[pymethods]
impl OutgoingMessageFilter {
    /// The payload of a message: compressed, or as it is when compression is off.
    #[pyo3(signature = (message, end=true, binary=false))]
    fn filter<'py>(
        &self,
        message: Bound<'py, PyAny>,
        end: bool,
        binary: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        let payload = if binary { message } else { encode_text(&message)? };
        let framer = self.0.get();
        if !framer.outgoing.lock().enabled {
            return Ok(payload);
        }
        let compressed = with_bytes(&payload, |data| {
            maybe_detached(py, data, |data| framer.outgoing.lock().compress(data, end))
        })?;
        let compressed = PyBytes::new(py, &compressed).into_any();
        DEFLATER_LOG.log(py, Level::Debug, || {
            format!("Compress input {}, result {}", repr(&payload), repr(&compressed))
        });
        FRAMER_LOG.log(py, Level::Debug, || {
            format!(
                "Outgoing message: {} bytes compressed to {}",
                payload.len().unwrap_or(0),
                compressed.len().unwrap_or(0)
            )
        });
        Ok(compressed)
    }
}

/// Inflates messages.
#[pyclass(name = "_IncomingMessageFilter", frozen, module = "pywebsocket3.extensions")]
pub struct IncomingMessageFilter(Py<DeflateFramer>);

#[pymethods]
impl IncomingMessageFilter {
    /// The message of a payload: inflated when its first frame had RSV1.
    fn filter<'py>(&self, message: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        let framer = self.0.get();
        if !std::mem::take(&mut framer.incoming.lock().inflate_next) {
            return Ok(message);
        }
        let inflated = with_bytes(&message, |data| {
            maybe_detached(py, data, |data| framer.incoming.lock().inflater.inflate(data, max_message_size()))
        })?;
        let inflated = inflated.map_err(|error| inflate_error(py, &error))?;
        let inflated = PyBytes::new(py, &inflated).into_any();
        INFLATER_LOG.log(py, Level::Debug, || {
            format!("Appended {}, decompressed {}", repr(&message), repr(&inflated))
        });
        FRAMER_LOG.log(py, Level::Debug, || {
            format!(
                "Incoming message: {} bytes inflated to {}",
                message.len().unwrap_or(0),
                inflated.len().unwrap_or(0)
            )
        });
        Ok(inflated)
    }

    /// The next message is compressed.
    fn decompress_next_message(&self) {
        self.0.get().incoming.lock().inflate_next = true;
    }
}

/// Sets RSV1 on the first frame of a compressed message.
#[pyclass(name = "_OutgoingFrameFilter", frozen, module = "pywebsocket3.extensions")]
pub struct OutgoingFrameFilter(Py<DeflateFramer>);

#[pymethods]
impl OutgoingFrameFilter {
    /// Changes `frame.rsv1` where it has to be set.
    fn filter(&self, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        // A ping of another thread may come between the message filter and the message's frame.
        if opcode::is_control(frame.getattr("opcode")?.extract()?) {
            return Ok(());
        }
        if std::mem::take(&mut self.0.get().outgoing.lock().mark_next_frame) {
            frame.setattr("rsv1", 1)?;
        }
        Ok(())
    }
}

/// Takes RSV1 off the first frame of a compressed message.
#[pyclass(name = "_IncomingFrameFilter", frozen, module = "pywebsocket3.extensions")]
pub struct IncomingFrameFilter(Py<DeflateFramer>);

#[pymethods]
impl IncomingFrameFilter {
    /// Remembers `frame.rsv1` of a data frame and clears it.
    fn filter(&self, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        let marked = frame.getattr("rsv1")?.eq(1)?;
        if marked && !opcode::is_control(frame.getattr("opcode")?.extract()?) {
            self.0.get().incoming.lock().inflate_next = true;
            frame.setattr("rsv1", 0)?;
        }
        Ok(())
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
