//! How a [`Stream`] sends: messages as frames, and frames over its connection.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::bridge::api::connection::Connection;
use crate::bridge::api::deflate_framer;
use crate::bridge::api::deflation::Deflation;
use crate::bridge::api::frames::{self, build_fragment};
use crate::bridge::api::stream::Stream;
use crate::bridge::api::stream_options::{Filters, Switch};
use crate::bridge::python::cached::intern;
use crate::bridge::python::convert::with_bytes;
use crate::bridge::python::detach::detached;
use crate::bridge::python::exceptions::{BAD_OPERATION, os_error, prepend_message};
use crate::bridge::python::last_call::call;
use crate::bridge::python::logging::repr;
use crate::bridge::python::refusals::memory_error;
use crate::websocket::frame::FrameHeader;

impl Stream {
    /// Writes `head` and `body` in one piece, which is a frame or anything else.
    pub(super) fn write_parts(
        &self,
        py: Python<'_>,
        head: &[u8],
        body: &[u8],
        is_frame: bool,
    ) -> PyResult<()> {
        let connection = self.connection(py)?;
        let written = if let Ok(own) = connection.cast_exact::<Connection>() {
            let own = own.get();
            let written = if is_frame { own.send_frame(py, head, body) } else { own.send(py, head, body) };
            written.map_err(|error| os_error(py, &error))
        } else {
            let whole = PyBytes::new_with(py, head.len() + body.len(), |whole| {
                whole[..head.len()].copy_from_slice(head);
                whole[head.len()..].copy_from_slice(body);
                Ok(())
            })?;
            call(&connection.getattr(intern!(py, "write"))?, (whole,)).map(drop)
        };
        written.inspect_err(|error| Self::name_peer(&connection, error))
    }

    /// Puts the peer's address in front of the error of a write.
    fn name_peer(connection: &Bound<'_, PyAny>, error: &PyErr) {
        let peer =
            connection.getattr("remote_addr").map_or_else(|_| "unknown".to_owned(), |peer| repr(&peer));
        prepend_message(connection.py(), error, &format!("Failed to send message to {peer}: "));
    }

    pub(super) fn write_whole_frame(&self, frame: &Bound<'_, PyBytes>) -> PyResult<()> {
        self.write_parts(frame.py(), frame.as_bytes(), &[], true)
    }

    /// Sends a message, or a piece of one.
    pub(super) fn filter_and_send(
        &self,
        mut message: Bound<'_, PyAny>,
        end: bool,
        binary: bool,
    ) -> PyResult<()> {
        let py = message.py();
        let Some(filters) = self.filters(py, Filters::OutgoingMessage)? else {
            return self.send_piece(&message, end, binary).map_err(|error| bad_operation(py, error));
        };
        if let Some(frame_filters) = self.filters(py, Filters::OutgoingFrame)?
            && let Some(framer) = deflate_framer::sending(&frame_filters, &filters)
            && self.deflate_and_send(&framer.get().deflation, &message, end, binary)?
        {
            return Ok(());
        }
        for filter in filters.try_iter()? {
            message = call(&filter?.getattr(intern!(py, "filter"))?, (message, end, binary))?;
        }
        self.send_piece(&message, end, binary).map_err(|error| bad_operation(py, error))
    }

    /// Compresses and writes in one go, if that is all there is to be done. `false`: it is not.
    fn deflate_and_send(
        &self,
        deflation: &Deflation,
        message: &Bound<'_, PyAny>,
        end: bool,
        binary: bool,
    ) -> PyResult<bool> {
        let py = message.py();
        let connection = self.connection(py)?;
        let Ok(own) = connection.cast_exact::<Connection>() else { return Ok(false) };
        let data = match (message.cast::<PyString>(), message.cast::<PyBytes>()) {
            (Ok(text), _) if !binary => text.to_str()?.as_bytes(),
            (_, Ok(bytes)) if binary => bytes.as_bytes(),
            _ => return Ok(false),
        };
        let encodes = self.is_on(py, Switch::EncodeText)?;
        if encodes || self.mask_send(py)? || !deflation.compresses(py) {
            return Ok(false);
        }
        let next = self.sending.lock().next(end, binary);
        let (opcode, fin) = next.map_err(|error| bad_operation(py, error))?;
        let socket = &own.get().socket;
        detached(py, || {
            deflation.compress_and(data, end, |payload, rsv1| {
                let header = outgoing_header(opcode, fin, rsv1, payload.len());
                socket.write_frame(&header.encode(), payload)
            })
        })
        .map_err(|_| memory_error())?
        .map_err(|error| os_error(py, &error))
        .inspect_err(|error| Self::name_peer(&connection, error))?;
        Ok(true)
    }

    /// Sends a message, or a piece of one, that went through the message filters.
    fn send_piece(&self, message: &Bound<'_, PyAny>, end: bool, binary: bool) -> PyResult<()> {
        let py = message.py();
        let filters = self.filters(py, Filters::OutgoingFrame)?;
        let (encode, mask) = (self.is_on(py, Switch::EncodeText)?, self.mask_send(py)?);
        if filters.is_some() || mask {
            let frame = build_fragment(&self.sending, message, (end, binary), (mask, encode), filters)?;
            return self.write_whole_frame(&frame);
        }
        // Without filters the payload goes out from where it lies, behind a header of its own.
        let (opcode, fin) = self.sending.lock().next(end, binary)?;
        if binary || !encode {
            with_bytes(message, |payload| self.send_frame(py, opcode, fin, payload))?
        } else if let Ok(text) = message.cast::<PyString>() {
            self.send_frame(py, opcode, fin, text.to_str()?.as_bytes())
        } else {
            let encoded = frames::encode_text(message)?;
            with_bytes(&encoded, |payload| self.send_frame(py, opcode, fin, payload))?
        }
    }

    fn send_frame(&self, py: Python<'_>, opcode: u8, fin: bool, payload: &[u8]) -> PyResult<()> {
        let header = outgoing_header(opcode, fin, false, payload.len());
        self.write_parts(py, &header.encode(), payload, true)
    }
}

/// What `send_message` raises for an error below the message filters: `BadOperationException` for `ValueError`.
fn bad_operation(py: Python<'_>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyValueError>(py) { BAD_OPERATION.error(py, error.value(py)) } else { error }
}

/// The header of a frame that a server sends.
fn outgoing_header(opcode: u8, fin: bool, rsv1: bool, length: usize) -> FrameHeader {
    FrameHeader {
        fin,
        rsv1,
        rsv2: false,
        rsv3: false,
        opcode,
        mask: None,
        payload_length: length as u64,
        minimal_length: true,
    }
}
