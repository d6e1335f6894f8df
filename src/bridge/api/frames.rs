//! Frames as Python sees and makes them: `stream.Frame`, `stream.create_*`, `stream.FragmentedFrameBuilder`.
//!
//! These functions check as little as the reference's: handlers use them to send what a correct peer must
//! refuse.

use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::bridge::python::convert::{self, copied, with_bytes};
use crate::bridge::python::exceptions::BAD_OPERATION;
use crate::bridge::python::last_call::call;
use crate::bridge::python::refusals;
use crate::locks::Lock;
use crate::websocket::close::{CloseCodeError, encode_body};
use crate::websocket::frame::{FrameHeader, opcode};
use crate::websocket::mask::apply_mask;
use crate::wire::limits::{Limits, Share};
use crate::wire::socket::RawFrame;

/// Largest payload that fits a length field (RFC 6455 section 5.2: below 2^63).
const LENGTH_LIMIT: i128 = 1 << 63;

/// A frame that filters may change. Every part is a plain attribute.
#[pyclass(frozen, dict, subclass, module = "pywebsocket3.stream")]
pub struct Frame;

#[pymethods]
impl Frame {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs),
           text_signature = "(fin=1, rsv1=0, rsv2=0, rsv3=0, opcode=None, payload=b'')")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self
    }

    /// Sets the parts: bits as 0 or 1, the opcode, the payload as bytes.
    #[pyo3(signature = (fin=None, rsv1=None, rsv2=None, rsv3=None, opcode=None, payload=None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        fin: Option<Bound<'_, PyAny>>,
        rsv1: Option<Bound<'_, PyAny>>,
        rsv2: Option<Bound<'_, PyAny>>,
        rsv3: Option<Bound<'_, PyAny>>,
        opcode: Option<Bound<'_, PyAny>>,
        payload: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let bit = |value: Option<Bound<'_, PyAny>>, default: u8| match value {
            Some(value) => Ok(value.unbind()),
            None => default.into_py_any(py),
        };
        slf.setattr("fin", bit(fin, 1)?)?;
        slf.setattr("rsv1", bit(rsv1, 0)?)?;
        slf.setattr("rsv2", bit(rsv2, 0)?)?;
        slf.setattr("rsv3", bit(rsv3, 0)?)?;
        slf.setattr("opcode", opcode)?;
        match payload {
            Some(payload) => slf.setattr("payload", payload),
            None => slf.setattr("payload", PyBytes::new(py, b"")),
        }
    }
}

impl Frame {
    /// A frame object of what came from the wire.
    pub(crate) fn from_raw<'py>(py: Python<'py>, frame: &RawFrame) -> PyResult<Bound<'py, Self>> {
        Self::create(py, &frame.header, convert::bytes(py, &frame.payload)?.as_any())
    }

    fn create<'py>(
        py: Python<'py>,
        header: &FrameHeader,
        payload: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        let frame = Bound::new(py, Self)?;
        frame.setattr("fin", u8::from(header.fin))?;
        frame.setattr("rsv1", u8::from(header.rsv1))?;
        frame.setattr("rsv2", u8::from(header.rsv2))?;
        frame.setattr("rsv3", u8::from(header.rsv3))?;
        frame.setattr("opcode", header.opcode)?;
        frame.setattr("payload", payload)?;
        Ok(frame)
    }
}

/// What a frame object says after filters had it. `frame` is a `Frame` or anything with its attributes; `share` counts
/// what it was before.
pub(crate) fn raw_from_object(
    frame: &Bound<'_, PyAny>,
    mut share: Share,
    limits: &Arc<Limits>,
) -> PyResult<RawFrame> {
    let payload = copied(&frame.getattr("payload")?)?;
    let counted = share.grow_to(payload.len() as u64, limits);
    counted.map_err(|error| refusals::total_exceeded(frame.py(), error))?;
    let header = FrameHeader {
        fin: frame.getattr("fin")?.is_truthy()?,
        rsv1: frame.getattr("rsv1")?.is_truthy()?,
        rsv2: frame.getattr("rsv2")?.is_truthy()?,
        rsv3: frame.getattr("rsv3")?.is_truthy()?,
        opcode: frame.getattr("opcode")?.extract()?,
        mask: None,
        payload_length: payload.len() as u64,
        minimal_length: true,
    };
    Ok(RawFrame { header, payload, share })
}

/// Runs `filter(frame)` of each filter.
pub(crate) fn apply_frame_filters(filters: &Bound<'_, PyAny>, frame: &Bound<'_, PyAny>) -> PyResult<()> {
    for filter in filters.try_iter()? {
        call(&filter?.getattr("filter")?, (frame,))?;
    }
    Ok(())
}

fn bits(first: &[i64]) -> PyResult<()> {
    if first.iter().any(|bit| bit & !1 != 0) {
        return Err(PyValueError::new_err("FIN bit and Reserved bit parameter must be 0 or 1"));
    }
    Ok(())
}

fn length_bytes(length: i128, mask: bool) -> PyResult<Vec<u8>> {
    if length < 0 {
        return Err(PyValueError::new_err("length must be non negative integer"));
    }
    if length >= LENGTH_LIMIT {
        return Err(PyValueError::new_err("Payload is too big for one frame"));
    }
    let header = FrameHeader {
        fin: false,
        rsv1: false,
        rsv2: false,
        rsv3: false,
        opcode: 0,
        mask: mask.then_some([0; 4]),
        payload_length: u64::try_from(length)?,
        minimal_length: true,
    };
    let encoded = header.encode();
    let end = encoded.len() - if mask { 4 } else { 0 };
    Ok(encoded[1..end].to_vec())
}

/// The length field of a frame header, with the mask bit (RFC 6455 section 5.2).
///
/// Raises `ValueError` for a negative length or one of 2^63 and more.
#[pyfunction]
pub fn create_length_header<'py>(
    py: Python<'py>,
    length: i128,
    mask: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &length_bytes(length, mask.is_truthy()?)?))
}

/// A frame header without the masking key. Any opcode of 4 bits and any reserved bit is fine.
///
/// Raises `ValueError` for an opcode, a bit or a length out of range.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "pywebsocket's signature")]
pub fn create_header<'py>(
    py: Python<'py>,
    opcode: i64,
    payload_length: i128,
    fin: i64,
    rsv1: i64,
    rsv2: i64,
    rsv3: i64,
    mask: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    if !(0..=0xf).contains(&opcode) {
        return Err(PyValueError::new_err("Opcode out of range"));
    }
    if !(0..LENGTH_LIMIT).contains(&payload_length) {
        return Err(PyValueError::new_err("payload_length out of range"));
    }
    bits(&[fin, rsv1, rsv2, rsv3])?;
    let first = (fin << 7) | (rsv1 << 6) | (rsv2 << 5) | (rsv3 << 4) | opcode;
    let mut header = vec![u8::try_from(first)?];
    header.extend(length_bytes(payload_length, mask.is_truthy()?)?);
    Ok(PyBytes::new(py, &header))
}

fn masking_key(py: Python<'_>) -> PyResult<[u8; 4]> {
    py.import("os")?.call_method1("urandom", (4,))?.extract()
}

/// A whole frame of a frame object.
fn format_frame<'py>(frame: &Bound<'py, PyAny>, mask: bool) -> PyResult<Bound<'py, PyBytes>> {
    let py = frame.py();
    let payload = frame.getattr("payload")?;
    let length = i128::try_from(payload.len()?)?;
    let bit = |name| frame.getattr(name)?.extract::<i64>();
    let header = create_header(
        py,
        frame.getattr("opcode")?.extract()?,
        length,
        bit("fin")?,
        bit("rsv1")?,
        bit("rsv2")?,
        bit("rsv3")?,
        mask.into_pyobject(py)?.to_owned().into_any(),
    )?;
    let key = if mask { Some(masking_key(py)?) } else { None };
    with_bytes(&payload, |payload| {
        let header = header.as_bytes();
        let length = header.len() + key.map_or(0, |key| key.len()) + payload.len();
        PyBytes::new_with(py, length, |bytes| {
            let (head, rest) = bytes.split_at_mut(header.len());
            head.copy_from_slice(header);
            if let Some(key) = key {
                let (key_field, body) = rest.split_at_mut(4);
                key_field.copy_from_slice(&key);
                body.copy_from_slice(payload);
                apply_mask(body, key, 0);
            } else {
                rest.copy_from_slice(payload);
            }
            Ok(())
        })
    })?
}

fn frame_object<'py>(
    py: Python<'py>,
    opcode: &Bound<'py, PyAny>,
    fin: &Bound<'py, PyAny>,
    payload: &Bound<'py, PyAny>,
    filters: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let frame = Bound::new(py, Frame)?;
    frame.setattr("fin", fin)?;
    for bit in ["rsv1", "rsv2", "rsv3"] {
        frame.setattr(bit, 0)?;
    }
    frame.setattr("opcode", opcode)?;
    frame.setattr("payload", payload)?;
    let frame = frame.into_any();
    if let Some(filters) = filters {
        apply_frame_filters(filters, &frame)?;
    }
    Ok(frame)
}

/// A data frame with a bytes payload. `opcode` and `fin` may be anything that fits the header.
#[pyfunction]
#[pyo3(signature = (message, opcode=None, fin=None, mask=None, frame_filters=None),
       text_signature = "(message, opcode=2, fin=1, mask=False, frame_filters=[])")]
pub fn create_binary_frame<'py>(
    message: Bound<'py, PyAny>,
    opcode: Option<Bound<'py, PyAny>>,
    fin: Option<Bound<'py, PyAny>>,
    mask: Option<Bound<'py, PyAny>>,
    frame_filters: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = message.py();
    data_frame(py, opcode, opcode::BINARY, fin, &message, mask, frame_filters)
}

/// A data frame with the UTF-8 bytes of a `str`. `opcode` and `fin` may be anything that fits the header.
#[pyfunction]
#[pyo3(signature = (message, opcode=None, fin=None, mask=None, frame_filters=None),
       text_signature = "(message, opcode=1, fin=1, mask=False, frame_filters=[])")]
pub fn create_text_frame<'py>(
    message: Bound<'py, PyAny>,
    opcode: Option<Bound<'py, PyAny>>,
    fin: Option<Bound<'py, PyAny>>,
    mask: Option<Bound<'py, PyAny>>,
    frame_filters: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let encoded = encode_text(&message)?;
    data_frame(message.py(), opcode, opcode::TEXT, fin, &encoded, mask, frame_filters)
}

fn data_frame<'py>(
    py: Python<'py>,
    opcode: Option<Bound<'py, PyAny>>,
    default_opcode: u8,
    fin: Option<Bound<'py, PyAny>>,
    payload: &Bound<'py, PyAny>,
    mask: Option<Bound<'py, PyAny>>,
    filters: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let opcode = match opcode {
        Some(opcode) => opcode,
        None => default_opcode.into_bound_py_any(py)?,
    };
    let fin = match fin {
        Some(fin) => fin,
        None => 1u8.into_bound_py_any(py)?,
    };
    let frame = frame_object(py, &opcode, &fin, payload, filters.as_ref())?;
    format_frame(&frame, truthy(mask.as_ref())?)
}

fn truthy(value: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
    value.map_or(Ok(false), pyo3::types::PyAnyMethods::is_truthy)
}

/// `message.encode('utf-8')`, with Python's own errors for other types and for lone surrogates.
pub(crate) fn encode_text<'py>(message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    message.call_method1("encode", ("utf-8",))
}

/// A control frame; filters first, then the limit of 125 bytes (RFC 6455 section 5.5).
pub(crate) fn control_frame<'py>(
    code: u8,
    body: &Bound<'py, PyAny>,
    mask: bool,
    filters: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = body.py();
    let frame = frame_object(py, &code.into_bound_py_any(py)?, &1u8.into_bound_py_any(py)?, body, filters)?;
    if frame.getattr("payload")?.len()? > 125 {
        let text = "Payload data size of control frames must be 125 bytes or less";
        return Err(BAD_OPERATION.error(py, text));
    }
    format_frame(&frame, mask)
}

macro_rules! control_frame_function {
    ($name:ident, $opcode:expr, $doc:literal) => {
        #[doc = $doc]
        ///
        /// Raises `BadOperationException` for a body of more than 125 bytes.
        #[pyfunction]
        #[pyo3(signature = (body, mask=None, frame_filters=None),
                                               text_signature = "(body, mask=False, frame_filters=[])")]
        pub fn $name<'py>(
            body: Bound<'py, PyAny>,
            mask: Option<Bound<'py, PyAny>>,
            frame_filters: Option<Bound<'py, PyAny>>,
        ) -> PyResult<Bound<'py, PyBytes>> {
            control_frame($opcode, &body, truthy(mask.as_ref())?, frame_filters.as_ref())
        }
    };
}

control_frame_function!(create_ping_frame, opcode::PING, "A ping frame.");
control_frame_function!(create_pong_frame, opcode::PONG, "A pong frame.");
control_frame_function!(create_close_frame, opcode::CLOSE, "A close frame; the body may be anything.");

/// The body of a close frame: code and reason, or nothing when the code is `None`.
///
/// Raises `BadOperationException` for a code outside 1000–4999 and for the reserved 1005, 1006 and 1015.
#[pyfunction]
pub fn create_closing_handshake_body<'py>(
    py: Python<'py>,
    code: Option<i64>,
    reason: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let refuse = |error: CloseCodeError| BAD_OPERATION.error(py, error.to_string());
    let Some(code) = code else {
        return Ok(PyBytes::new(py, b""));
    };
    // The code is checked before the reason, as in the reference.
    encode_body(Some(code), "").map_err(refuse)?;
    let reason: String = encode_text(&reason)?.call_method1("decode", ("utf-8",))?.extract()?;
    let body = encode_body(Some(code), &reason).map_err(refuse)?;
    Ok(PyBytes::new(py, &body))
}

/// Which opcode and FIN bit the next fragment of a message gets.
#[derive(Debug, Default)]
pub(crate) struct Fragmenter {
    open: Option<bool>,
}

impl Fragmenter {
    /// The opcode and FIN bit of the next piece. An error: the message was begun as the other type.
    pub(crate) fn next(&mut self, end: bool, binary: bool) -> PyResult<(u8, bool)> {
        let frame_type = if binary { opcode::BINARY } else { opcode::TEXT };
        let code = match self.open {
            Some(open) if open != binary => {
                let text = "Message types are different in frames for the same message";
                return Err(PyValueError::new_err(text));
            }
            Some(_) => opcode::CONTINUATION,
            None => frame_type,
        };
        self.open = (!end).then_some(binary);
        Ok((code, end))
    }
}

/// Builds the frames of a message that is sent in pieces.
#[pyclass(frozen, subclass, module = "pywebsocket3.stream")]
pub struct FragmentedFrameBuilder {
    mask: bool,
    filters: Option<Py<PyAny>>,
    encode_utf8: bool,
    fragmenter: Lock<Fragmenter>,
}

#[pymethods]
impl FragmentedFrameBuilder {
    #[new]
    #[pyo3(signature = (mask, frame_filters=None, encode_utf8=None),
           text_signature = "(mask, frame_filters=[], encode_utf8=True)")]
    fn new(
        mask: Bound<'_, PyAny>,
        frame_filters: Option<Py<PyAny>>,
        encode_utf8: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            mask: mask.is_truthy()?,
            filters: frame_filters,
            encode_utf8: encode_utf8.map_or(Ok(true), |value| value.is_truthy())?,
            fragmenter: Lock::default(),
        })
    }

    /// Filters may lead back to the builder; the garbage collector has to see that.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.filters)
    }

    /// The next frame: `payload_data` is `str` for text (bytes when `encode_utf8` is false), bytes for binary.
    ///
    /// Raises `ValueError` when the message was begun as the other type.
    fn build<'py>(
        &self,
        payload_data: Bound<'py, PyAny>,
        end: Bound<'py, PyAny>,
        binary: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let filters = self.filters.as_ref().map(|filters| filters.bind(payload_data.py()).clone());
        build_fragment(
            &self.fragmenter,
            &payload_data,
            (end.is_truthy()?, binary.is_truthy()?),
            (self.mask, self.encode_utf8),
            filters,
        )
    }
}

/// The next frame of a message: `(end, binary)` as the sender says, `(mask, encode_utf8)` as configured.
pub(crate) fn build_fragment<'py>(
    fragmenter: &Lock<Fragmenter>,
    payload: &Bound<'py, PyAny>,
    (end, binary): (bool, bool),
    (mask, encode_utf8): (bool, bool),
    filters: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = payload.py();
    let (code, fin) = fragmenter.lock().next(end, binary)?;
    let payload = if binary || !encode_utf8 { payload.clone() } else { encode_text(payload)? };
    if payload.is_instance_of::<PyString>() {
        return Err(PyException::new_err("a str payload cannot be sent as it is"));
    }
    let code = code.into_bound_py_any(py)?;
    let fin = u8::from(fin).into_bound_py_any(py)?;
    let frame = frame_object(py, &code, &fin, &payload, filters.as_ref())?;
    format_frame(&frame, mask)
}
