//! Frames that Python reads: `stream.parse_frame`, and those of connections that handlers bring along.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::bridge::python::convert::{self, copied};
use crate::bridge::python::exceptions::INVALID_FRAME;
use crate::bridge::python::last_call::call;
use crate::bridge::python::logging::{Level, repr};
use crate::bridge::python::refusals;
use crate::websocket::frame::{FrameHeader, HeaderStep};
use crate::websocket::mask::apply_mask;
use crate::websocket::reader::{FrameReader, FrameRefusal};
use crate::wire::limits::{Limits, Share};
use crate::wire::socket::RawFrame;

/// A frame whose bytes `receive` brings: called with a number of bytes, gives exactly those. No server has its connection.
pub(crate) fn receive_frame(
    py: Python<'_>,
    receive: &mut dyn FnMut(u64) -> PyResult<Vec<u8>>,
    masked: bool,
) -> PyResult<RawFrame> {
    let limits = Limits::for_others();
    let reader = FrameReader { masked, limit: limits.max_message_size() };
    let mut head = Vec::with_capacity(14);
    let header = loop {
        match reader.read(&head).map_err(|refusal| refused(py, refusal))? {
            HeaderStep::Done { header, .. } => break header,
            HeaderStep::Need(total) => head.extend(receive((total - head.len()) as u64)?),
        }
    };
    let mut payload = match header.payload_length {
        0 => Vec::new(),
        length => receive(length)?,
    };
    let mut share = Share::default();
    let counted = share.grow_to(payload.len() as u64, limits);
    counted.map_err(|error| refusals::total_exceeded(py, error))?;
    if let Some(key) = header.mask {
        apply_mask(&mut payload, key, 0);
    }
    Ok(RawFrame { header, payload, share })
}

/// The exception for a frame that is not taken.
pub(crate) fn refused(py: Python<'_>, refusal: FrameRefusal) -> PyErr {
    match refusal {
        FrameRefusal::TooLarge { limit, .. } => refusals::too_big(py, limit),
        FrameRefusal::WrongMasking | FrameRefusal::Length(_) => INVALID_FRAME.error(py, refusal.to_string()),
    }
}

/// What the reference logs before it waits for a frame.
pub(crate) const FRAME_WANTED: &str = "Receive the first 2 octets of a frame";

/// What a received header is worth a log record: each of its fields at FINE, in the reference's words, and wasteful
/// lengths as a warning.
pub(crate) fn report_header(
    py: Python<'_>,
    header: &FrameHeader,
    fine: bool,
    mut log: impl FnMut(Level, String),
) {
    let length = header.payload_length;
    if fine {
        // How many bytes a wasteful length has is not kept; the warning tells of it.
        let (field, extended) = match length {
            126..=0xffff if header.minimal_length => (126, Some(2)),
            126.. => (127, Some(8)),
            short => (short, None),
        };
        log(
            Level::Fine,
            format!(
                "FIN={}, RSV1={}, RSV2={}, RSV3={}, opcode={}, Mask={}, Payload_length={field}",
                u8::from(header.fin),
                u8::from(header.rsv1),
                u8::from(header.rsv2),
                u8::from(header.rsv3),
                header.opcode,
                u8::from(header.mask.is_some()),
            ),
        );
        if let Some(octets) = extended {
            log(Level::Fine, format!("Receive {octets}-octet extended payload length"));
            log(Level::Fine, format!("Decoded_payload_length={length}"));
        }
    }
    if !header.minimal_length {
        log(
            Level::Warning,
            format!("Payload length is not encoded using the minimal number of bytes ({length} takes fewer)"),
        );
    }
    if fine && let Some(key) = header.mask {
        log(Level::Fine, "Receive mask".to_owned());
        log(Level::Fine, format!("Mask={}", repr(&PyBytes::new(py, &key))));
    }
}

/// The 6-tuple of `parse_frame` and `Stream._receive_frame`.
pub(crate) fn frame_tuple<'py>(py: Python<'py>, frame: &RawFrame) -> PyResult<Bound<'py, PyTuple>> {
    let header = &frame.header;
    (
        header.opcode,
        convert::bytes(py, &frame.payload)?,
        u8::from(header.fin),
        u8::from(header.rsv1),
        u8::from(header.rsv2),
        u8::from(header.rsv3),
    )
        .into_pyobject(py)
}

/// Reads a frame with `receive_bytes(length)` and returns `(opcode, payload, fin, rsv1, rsv2, rsv3)`.
///
/// Raises what `receive_bytes` raises, and `InvalidFrameException` when the mask bit is not as
/// `unmask_receive` wants it or the length is 2^63 or more.
#[pyfunction]
#[pyo3(signature = (receive_bytes, logger=None, ws_version=13, unmask_receive=None),
       text_signature = "(receive_bytes, logger=None, ws_version=13, unmask_receive=True)")]
pub fn parse_frame<'py>(
    receive_bytes: Bound<'py, PyAny>,
    logger: Option<Bound<'py, PyAny>>,
    ws_version: i64,
    unmask_receive: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = receive_bytes.py();
    let masked = match unmask_receive {
        Some(value) => value.is_truthy()?,
        None => true,
    };
    let mut receive = |length: u64| copied(&call(&receive_bytes, (length,))?);
    let logger = match logger {
        Some(logger) if logger.is_truthy()? => logger,
        _ => py.import("logging")?.call_method0("getLogger")?,
    };
    let fine = logger.call_method1("isEnabledFor", (Level::Fine as i32,))?.is_truthy()?;
    if fine {
        logger.call_method1("log", (Level::Fine as i32, FRAME_WANTED))?;
    }
    let frame = receive_frame(py, &mut receive, masked)?;
    let mut failed = None;
    report_header(py, &frame.header, fine, |level, text| {
        if matches!(level, Level::Fine) || ws_version >= 13 {
            failed = logger.call_method1("log", (level as i32, "%s", text)).err();
        }
    });
    failed.map_or_else(|| frame_tuple(py, &frame), Err)
}
