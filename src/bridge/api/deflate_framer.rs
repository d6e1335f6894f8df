//! Permessage-deflate (RFC 7692) on a connection: the filters that a processor puts into its stream's options.

use pyo3::PyClass;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::bridge::api::deflation::{Deflation, Outgoing};
use crate::bridge::api::frames::encode_text;
use crate::bridge::api::payload;
use crate::bridge::api::util::{DEFLATER_LOG, INFLATER_LOG};
use crate::bridge::python::convert::{self, with_bytes};
use crate::bridge::python::detach::detached;
use crate::bridge::python::logging::{Level, Logger, repr};
use crate::bridge::python::refusals::memory_error;
use crate::websocket::deflate::MAX_WINDOW_BITS;
use crate::websocket::frame::opcode;
use crate::wire::limits::{Limits, Share};

static LOG: Logger = Logger::new("pywebsocket3.extensions._PerMessageDeflateFramer");

/// (De)compresses the messages of a connection and sets RSV1 on their first frames (RFC 7692 section 6).
///
/// It does so through its filters, as in the reference. Where a stream has no filters but these, it asks
/// [`receiving`] and [`sending`] and leaves the objects that filters need out.
#[pyclass(name = "_PerMessageDeflateFramer", frozen, module = "pywebsocket3.extensions")]
pub struct DeflateFramer {
    /// The messages.
    pub(crate) deflation: Deflation,
    /// Whether messages are logged, which only the filters do; asked once.
    logs: bool,
}

/// The only filter of a list, if it is of this type.
fn only<'py, T: PyClass>(filters: &Bound<'py, PyAny>) -> Option<Bound<'py, T>> {
    let filters = filters.cast_exact::<PyList>().ok()?;
    if filters.len() != 1 {
        return None;
    }
    filters.get_item(0).ok()?.cast_into_exact().ok()
}

/// The framer whose filters are all that a stream has for what it receives, and that does not log.
pub(crate) fn receiving(
    frame_filters: &Bound<'_, PyAny>,
    message_filters: &Bound<'_, PyAny>,
) -> Option<Py<DeflateFramer>> {
    let frames = only::<IncomingFrameFilter>(frame_filters)?;
    let messages = only::<IncomingMessageFilter>(message_filters)?;
    chosen(frame_filters.py(), &frames.get().0, &messages.get().0)
}

/// The framer whose filters are all that a stream has for what it sends, and that does not log.
pub(crate) fn sending(
    frame_filters: &Bound<'_, PyAny>,
    message_filters: &Bound<'_, PyAny>,
) -> Option<Py<DeflateFramer>> {
    let frames = only::<OutgoingFrameFilter>(frame_filters)?;
    let messages = only::<OutgoingMessageFilter>(message_filters)?;
    chosen(frame_filters.py(), &frames.get().0, &messages.get().0)
}

/// The framer of two filters, if it is one and does not log.
fn chosen(
    py: Python<'_>,
    first: &Py<DeflateFramer>,
    second: &Py<DeflateFramer>,
) -> Option<Py<DeflateFramer>> {
    (first.is(second) && !first.get().logs).then(|| first.clone_ref(py))
}

#[pymethods]
impl DeflateFramer {
    /// A framer that deflates with this window (`None`: the largest); it sends messages as they are until
    /// `set_compress_outgoing_enabled`.
    #[new]
    pub(crate) fn new(
        py: Python<'_>,
        deflate_max_window_bits: Option<u8>,
        deflate_no_context_takeover: bool,
    ) -> Self {
        let bits = deflate_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        Self {
            deflation: Deflation::new(bits, deflate_no_context_takeover),
            logs: [&LOG, &DEFLATER_LOG, &INFLATER_LOG].iter().any(|log| log.enabled(py, Level::Debug)),
        }
    }

    /// See `PerMessageDeflateExtensionProcessor.set_bfinal`.
    fn set_bfinal(&self, value: Bound<'_, PyAny>) -> PyResult<()> {
        let py = value.py();
        let value = value.is_truthy()?;
        self.deflation.with_outgoing(py, |outgoing| outgoing.bfinal = value);
        Ok(())
    }

    /// See `PerMessageDeflateExtensionProcessor.enable_outgoing_compression`.
    fn set_compress_outgoing_enabled(&self, value: Bound<'_, PyAny>) -> PyResult<()> {
        let py = value.py();
        let value = value.is_truthy()?;
        self.deflation.with_outgoing(py, |outgoing| outgoing.enabled = value);
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
    /// The framer, for the garbage collector.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }

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
        let deflation = &self.0.get().deflation;
        if !deflation.compresses(py) {
            return Ok(payload);
        }
        let compressed =
            with_bytes(&payload, |data| detached(py, || deflation.outgoing.lock().compress(data, end)))?;
        let compressed = compressed.map_err(|_| memory_error())?;
        let compressed = convert::bytes(py, &compressed)?.into_any();
        DEFLATER_LOG.log(py, Level::Debug, || {
            format!("Compress input {}, result {}", repr(&payload), repr(&compressed))
        });
        LOG.log(py, Level::Debug, || {
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
    /// The framer, for the garbage collector.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }

    /// The message of a payload: inflated when its first frame had RSV1.
    fn filter<'py>(&self, message: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        let deflation = &self.0.get().deflation;
        if !deflation.takes_inflate_next(py) {
            return Ok(message);
        }
        let mut share = Share::default();
        // A filter does not know which connection it is asked for.
        let limits = Limits::for_others();
        let inflated =
            with_bytes(&message, |data| payload::inflate(py, deflation, data, false, &mut share, limits))??;
        INFLATER_LOG.log(py, Level::Debug, || {
            format!("Appended {}, decompressed {}", repr(&message), repr(&inflated))
        });
        LOG.log(py, Level::Debug, || {
            format!(
                "Incoming message: {} bytes inflated to {}",
                message.len().unwrap_or(0),
                inflated.len().unwrap_or(0)
            )
        });
        Ok(inflated)
    }

    /// The next message is compressed.
    fn decompress_next_message(&self, py: Python<'_>) {
        self.0.get().deflation.with_incoming(py, |incoming| incoming.inflate_next = true);
    }
}

/// Sets RSV1 on the first frame of a compressed message.
#[pyclass(name = "_OutgoingFrameFilter", frozen, module = "pywebsocket3.extensions")]
pub struct OutgoingFrameFilter(Py<DeflateFramer>);

#[pymethods]
impl OutgoingFrameFilter {
    /// The framer, for the garbage collector.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }

    /// Changes `frame.rsv1` where it has to be set.
    fn filter(&self, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        // A ping of another thread may come between the message filter and the message's frame.
        if opcode::is_control(frame.getattr("opcode")?.extract()?) {
            return Ok(());
        }
        if self.0.get().deflation.with_outgoing(frame.py(), Outgoing::takes_mark) {
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
    /// The framer, for the garbage collector.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }

    /// Remembers `frame.rsv1` of a data frame and clears it.
    fn filter(&self, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        let marked = frame.getattr("rsv1")?.eq(1)?;
        if marked && !opcode::is_control(frame.getattr("opcode")?.extract()?) {
            self.0.get().deflation.with_incoming(frame.py(), |incoming| incoming.inflate_next = true);
            frame.setattr("rsv1", 0)?;
        }
        Ok(())
    }
}
