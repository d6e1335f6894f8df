//! `request.ws_stream`: messages over a connection.
//!
//! One message layer over two transports: a [`Connection`] of ours, whose socket is used directly and
//! detached from Python, or any other object with `read` and `write`, whose methods are called. Control
//! frames are handled inside `receive_message`, on the handler's thread, when the handler asks.

// Methods that begin with an underscore are part of what handlers use.
#![allow(clippy::used_underscore_items)]

mod received;
mod receiving;
mod sending;

use std::collections::VecDeque;
use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::bridge::api::connection::Connection;
use crate::bridge::api::frame_reading;
use crate::bridge::api::frames::{self, Fragmenter, Frame, control_frame, create_closing_handshake_body};
use crate::bridge::api::stream_options::{self, Filters, Switch};
use crate::bridge::python::cached::intern;
use crate::bridge::python::convert::{self, copied, unpack_pair, with_bytes};
use crate::bridge::python::exceptions::{BAD_OPERATION, CONNECTION_TERMINATED, INVALID_FRAME, INVALID_UTF8};
use crate::bridge::python::last_call::call;
use crate::bridge::python::logging::{Level, Logger, repr};
use crate::bridge::python::refusals;
use crate::locks::{Lock, handlers_code_may_run};
use crate::websocket::close::{CloseBodyError, parse_body};
use crate::websocket::frame::opcode;
use crate::websocket::memory;
use crate::wire::limits::{Lent, Limits, Share};
use received::{Next, Receiving, Taken};

static LOG: Logger = Logger::new("pywebsocket3.stream.Stream");

/// Close codes after which no reply is waited for.
const GOING_AWAY: i64 = 1001;
const PROTOCOL_ERROR: i64 = 1002;
const NORMAL_CLOSURE: i64 = 1000;
const NO_STATUS_RECEIVED: i64 = 1005;

/// A reference that the garbage collector may look for before it is there.
///
/// Python 3.11 and newer make the `__dict__` of a new object before `PyO3` fills the object in, and may collect
/// garbage at that moment. `__traverse__` then finds zeros, and they must mean `None`, not a null reference.
struct Reference(Option<Py<PyAny>>);

impl Reference {
    fn get(&self) -> PyResult<&Py<PyAny>> {
        self.0.as_ref().ok_or_else(|| PyRuntimeError::new_err("the stream is being made"))
    }
}

/// Messages over a connection (RFC 6455).
#[pyclass(frozen, dict, weakref, subclass, module = "pywebsocket3.stream")]
pub struct Stream {
    request: Reference,
    options: Reference,
    /// Whether frames are logged; asked once, so that a frame costs nothing when they are not.
    fine: bool,
    receiving: Lock<Receiving>,
    lent: Lent,
    sending: Lock<Fragmenter>,
    pings: Lock<VecDeque<Vec<u8>>>,
}

impl Stream {
    /// `getattr(request, name)` as a truth value.
    fn flag(&self, name: &Bound<'_, PyString>) -> PyResult<bool> {
        handlers_code_may_run();
        self.request.get()?.bind(name.py()).getattr(name)?.is_truthy()
    }

    /// The filters of a list; `None` when there are none.
    fn filters<'py>(&self, py: Python<'py>, which: Filters) -> PyResult<Option<Bound<'py, PyAny>>> {
        stream_options::filters(self.options.get()?.bind(py), which)
    }

    fn is_on(&self, py: Python<'_>, which: Switch) -> PyResult<bool> {
        stream_options::is_on(self.options.get()?.bind(py), which)
    }

    fn connection<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        handlers_code_may_run();
        self.request.get()?.bind(py).getattr(intern!(py, "connection"))
    }

    /// What peers may make us hold on this connection.
    fn limits(&self, py: Python<'_>) -> PyResult<Arc<Limits>> {
        let connection = self.connection(py)?;
        let own = connection.cast_exact::<Connection>();
        Ok(Arc::clone(own.map_or_else(|_| Limits::for_others(), |own| &own.get().socket.limits)))
    }

    fn mask_send(&self, py: Python<'_>) -> PyResult<bool> {
        self.is_on(py, Switch::MaskSend)
    }

    /// Whether the peer is in the middle of a frame that was refused.
    fn peer_is_within_refused(&self, py: Python<'_>) -> PyResult<bool> {
        let connection = self.connection(py)?;
        Ok(connection.cast_exact::<Connection>().is_ok_and(|own| own.get().socket.is_within_refused()))
    }

    /// Calls `request.NAME(request, body)`. False when there is none; pywebsocket: an `AttributeError` from
    /// within it counts as none, too.
    fn call_frame_handler(&self, name: &Bound<'_, PyString>, body: &Bound<'_, PyBytes>) -> PyResult<bool> {
        let py = body.py();
        let request = self.request.get()?.bind(py);
        let call = || {
            let handler = request.getattr(name)?;
            if !handler.is_truthy()? {
                return Ok(false);
            }
            call(&handler, (request, body))?;
            Ok(true)
        };
        match call() {
            Err(error) if PyErr::is_instance_of::<PyAttributeError>(&error, py) => Ok(false),
            other => other,
        }
    }

    /// Code and reason for the reply to the peer's close frame, from the handler.
    fn closing_reply<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let request = self.request.get()?.bind(py);
        let empty = PyString::new(py, "").into_any();
        let Some(dispatcher) = request.getattr_opt(intern!(py, "_dispatcher"))? else {
            return Ok((NORMAL_CLOSURE.into_bound_py_any(py)?, empty));
        };
        let reply = dispatcher.call_method1(intern!(py, "passive_closing_handshake"), (request,))?;
        let (code, reason) = unpack_pair(&reply)?;
        if code.is_none() && !reason.is_none() && reason.len()? > 0 {
            LOG.log(py, Level::Warning, || "Handler specified reason despite code being None".to_owned());
            return Ok((code, empty));
        }
        Ok(if reason.is_none() { (code, empty) } else { (code, reason) })
    }
}

#[pymethods]
impl Stream {
    /// A stream over `request.connection`. Sets `request.client_terminated` and `request.server_terminated`
    /// to `False`.
    #[new]
    pub(crate) fn new(py: Python<'_>, request: Py<PyAny>, options: Py<PyAny>) -> PyResult<Self> {
        request.setattr(py, intern!(py, "client_terminated"), false)?;
        request.setattr(py, intern!(py, "server_terminated"), false)?;
        Ok(Self {
            request: Reference(Some(request)),
            options: Reference(Some(options)),
            fine: LOG.enabled(py, Level::Fine),
            receiving: Lock::default(),
            lent: Lent::default(),
            sending: Lock::default(),
            pings: Lock::default(),
        })
    }

    /// A request and its stream refer to each other; the garbage collector has to see that.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.request.0)?;
        visit.call(&self.options.0)
    }

    /// The options, filters included.
    #[getter]
    fn _options(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.options.get()?.clone_ref(py))
    }

    /// The request that the stream belongs to.
    #[getter]
    fn _request(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.request.get()?.clone_ref(py))
    }

    /// One read of at most `length` bytes.
    ///
    /// Raises `ConnectionTerminatedException` at the end of the stream.
    fn _read<'py>(&self, py: Python<'py>, length: u64) -> PyResult<Bound<'py, PyBytes>> {
        convert::bytes(py, &Self::read_once(&self.connection(py)?, length)?)
    }

    /// Bytes up to and without `delim_char` (one byte).
    ///
    /// Raises `ConnectionTerminatedException` at the end of the stream.
    fn _read_until<'py>(&self, delim_char: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyBytes>> {
        let py = delim_char.py();
        let connection = self.connection(py)?;
        let mut data = Vec::new();
        loop {
            let byte = Self::read_once(&connection, 1)?;
            if byte == delim_char.as_bytes() {
                return convert::bytes(py, &data);
            }
            memory::append(&mut data, &byte).map_err(|_| refusals::memory_error())?;
        }
    }

    /// Writes raw bytes. Errors are those of the connection, with the peer's address in front.
    fn _write(&self, bytes_to_write: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = bytes_to_write.py();
        with_bytes(bytes_to_write, |bytes| self.write_parts(py, bytes, &[], false))?
    }

    /// Exactly `length` raw bytes.
    ///
    /// Raises `ConnectionTerminatedException` at the end of the stream.
    fn receive_bytes<'py>(&self, py: Python<'py>, length: i64) -> PyResult<Bound<'py, PyBytes>> {
        let length = u64::try_from(length).unwrap_or(0);
        convert::bytes(py, &Self::read_exactly(&self.connection(py)?, length)?)
    }

    /// The next frame as `(opcode, payload, fin, rsv1, rsv2, rsv3)`: no filters, no replies.
    fn _receive_frame<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        frame_reading::frame_tuple(py, &self.read_frame(py)?)
    }

    /// The next frame as a `Frame`: no filters, no replies.
    fn _receive_frame_as_frame_object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Frame>> {
        Frame::from_raw(py, &self.read_frame(py)?)
    }

    /// The next frame after all filters; it must be an unfragmented data frame.
    fn receive_filtered_frame<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Frame>> {
        let raw = self.read_frame(py)?;
        if !raw.header.fin {
            let text = "Segmented frames must not be received via receive_filtered_frame()";
            return Err(INVALID_FRAME.error(py, text));
        }
        if !matches!(raw.header.opcode, opcode::TEXT | opcode::BINARY) {
            let text = "Control frames must not be received via receive_filtered_frame()";
            return Err(INVALID_FRAME.error(py, text));
        }
        let frame = Frame::from_raw(py, &raw)?;
        if let Some(filters) = self.filters(py, Filters::IncomingFrame)? {
            frames::apply_frame_filters(&filters, frame.as_any())?;
        }
        if let Some(filters) = self.filters(py, Filters::IncomingMessage)? {
            for filter in filters.try_iter()? {
                frame.setattr("payload", call(&filter?.getattr("filter")?, (frame.getattr("payload")?,))?)?;
            }
        }
        Ok(frame)
    }

    /// Sends a message, or a piece of one when `end` is false: `str` as text, bytes with `binary`.
    ///
    /// Raises `BadOperationException` after a close frame was sent, for `str` with `binary`, for a message
    /// whose pieces differ in type, and for text that has no UTF-8 form.
    #[pyo3(signature = (message, end=None, binary=None), text_signature = "($self, message, end=True, binary=False)")]
    fn send_message(
        &self,
        message: Bound<'_, PyAny>,
        end: Option<Bound<'_, PyAny>>,
        binary: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = message.py();
        if self.flag(intern!(py, "server_terminated"))? {
            let text = "Requested send_message after sending out a closing handshake";
            return Err(BAD_OPERATION.error(py, text));
        }
        let is_end = end.as_ref().map_or(Ok(true), pyo3::types::PyAnyMethods::is_truthy)?;
        let is_binary = binary.as_ref().map_or(Ok(false), pyo3::types::PyAnyMethods::is_truthy)?;
        if is_binary && message.is_instance_of::<PyString>() {
            let text = "Message for binary frame must not be instance of Unicode";
            return Err(BAD_OPERATION.error(py, text));
        }
        self.filter_and_send(message, is_end, is_binary)
    }

    /// The next message: `str`, `bytes`, or `None` once the peer's close frame was answered.
    ///
    /// Raises `BadOperationException` after that; `ConnectionTerminatedException` when the peer is gone;
    /// `InvalidFrameException`, `UnsupportedFrameException` or `InvalidUTF8Exception` when it breaks the
    /// protocol; `MessageTooBigException` above the size limit; what the passive closing handshake raises.
    fn receive_message<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.flag(intern!(py, "client_terminated"))? {
            let text = "Requested receive_message after receiving a closing handshake";
            return Err(BAD_OPERATION.error(py, text));
        }
        self.lent.is_back();
        loop {
            match self.next(py)? {
                Next::Message(message) => return Ok(Some(message)),
                Next::Frame(frame) => match self.take(py, frame)? {
                    Taken::Nothing => {}
                    Taken::Message(message) => return Ok(Some(message)),
                    Taken::Close => return Ok(None),
                },
            }
        }
    }

    /// The payload of the message that `frame` completes, or `None` when more fragments are to come.
    fn _get_message_from_frame<'py>(
        &self,
        frame: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let py = frame.py();
        let message =
            self.assemble(py, frames::raw_from_object(frame, Share::default(), &self.limits(py)?)?)?;
        message.map(|(message, _share)| convert::bytes(py, &message.payload)).transpose()
    }

    /// Takes the body of a close frame: sets `request.ws_close_code`, `ws_close_reason` and
    /// `client_terminated`, and answers it unless it is the answer to ours.
    fn _process_close_message(&self, message: &Bound<'_, PyBytes>) -> PyResult<()> {
        let py = message.py();
        let request = self.request.get()?.bind(py);
        request.setattr(intern!(py, "client_terminated"), true)?;
        let body = parse_body(message.as_bytes()).map_err(|error| match error {
            CloseBodyError::Reason => INVALID_UTF8.error(py, error.to_string()),
            other => INVALID_FRAME.error(py, other.to_string()),
        })?;
        match body {
            None => request.setattr("ws_close_code", NO_STATUS_RECEIVED)?,
            Some((code, reason)) => {
                request.setattr("ws_close_code", code)?;
                request.setattr("ws_close_reason", reason)?;
            }
        }
        LOG.log(py, Level::Debug, || format!("Received close frame (body={})", repr(message)));
        if self.flag(intern!(py, "server_terminated"))? {
            LOG.log(py, Level::Debug, || "Received ack for server-initiated closing handshake".to_owned());
            return Ok(());
        }
        LOG.log(py, Level::Debug, || "Received client-initiated closing handshake".to_owned());
        let (code, reason) = self.closing_reply(py)?;
        self._send_closing_handshake(&code, &reason)?;
        LOG.log(py, Level::Debug, || {
            let (code, reason) = (repr(&code), repr(&reason));
            format!("Acknowledged closing handshake initiated by the peer (code={code}, reason={reason})")
        });
        Ok(())
    }

    /// Takes the body of a ping: gives it to `request.on_ping_handler`, or answers it when there is none and our close
    /// frame is not out.
    fn _process_ping_message(&self, message: &Bound<'_, PyBytes>) -> PyResult<()> {
        let py = message.py();
        if self.call_frame_handler(intern!(py, "on_ping_handler"), message)?
            || self.flag(intern!(py, "server_terminated"))?
        {
            return Ok(());
        }
        self._send_pong(message.as_any())
    }

    /// Takes the body of a pong: notes which ping it answers and gives it to `request.on_pong_handler`.
    fn _process_pong_message(&self, message: &Bound<'_, PyBytes>) -> PyResult<()> {
        let py = message.py();
        let acknowledged = {
            let mut pings = self.pings.lock();
            let position = pings.iter().position(|ping| ping == message.as_bytes());
            position.map(|ignored| pings.drain(..=ignored).count() - 1)
        };
        LOG.log(py, Level::Debug, || match acknowledged {
            Some(ignored) => format!("Ping {} is acked ({ignored} pings were ignored)", repr(message)),
            None => "Received a unsolicited pong".to_owned(),
        });
        self.call_frame_handler(intern!(py, "on_pong_handler"), message).map(drop)
    }

    /// Sends a close frame and sets `request.server_terminated`.
    fn _send_closing_handshake(&self, code: &Bound<'_, PyAny>, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = code.py();
        let body = create_closing_handshake_body(py, code.extract()?, reason.clone())?;
        let filters = self.filters(py, Filters::OutgoingFrame)?;
        let frame = control_frame(opcode::CLOSE, body.as_any(), self.mask_send(py)?, filters.as_ref())?;
        self.request.get()?.setattr(py, intern!(py, "server_terminated"), true)?;
        self.write_whole_frame(&frame)
    }

    /// Starts the closing handshake and, unless the code is 1001 or 1002 or `wait_response` is false, waits
    /// for the peer's close frame; not in the middle of a frame that was refused. Does nothing after a close frame was sent.
    ///
    /// Raises `BadOperationException` for a reason without a code or of another type than `str`/`bytes`, and
    /// for codes that must not be sent; `ConnectionTerminatedException` when the peer sends a message instead.
    #[pyo3(signature = (code=Argument::Omitted, reason=Argument::Omitted, wait_response=None),
           text_signature = "($self, code=1000, reason='', wait_response=True)")]
    pub(crate) fn close_connection<'py>(
        slf: &Bound<'py, Self>,
        code: Argument<'py>,
        reason: Argument<'py>,
        wait_response: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let stream = slf.get();
        if stream.flag(intern!(py, "server_terminated"))? {
            LOG.log(py, Level::Debug, || {
                "Requested close_connection but server is already terminated".to_owned()
            });
            return Ok(());
        }
        let code = match code {
            Argument::Given(code) => code,
            Argument::Omitted => NORMAL_CLOSURE.into_bound_py_any(py)?,
        };
        let mut reason = match reason {
            Argument::Given(reason) => reason,
            Argument::Omitted => PyString::new(py, "").into_any(),
        };
        if code.is_none() {
            if !reason.is_none() && reason.len()? > 0 {
                let text = "close reason must not be specified if code is None";
                return Err(BAD_OPERATION.error(py, text));
            }
            reason = PyString::new(py, "").into_any();
        } else if !reason.is_instance_of::<PyString>() && !reason.is_instance_of::<PyBytes>() {
            return Err(BAD_OPERATION.error(py, "close reason must be an instance of bytes or unicode"));
        }
        stream._send_closing_handshake(&code, &reason)?;
        LOG.log(py, Level::Debug, || {
            format!("Initiated closing handshake (code={}, reason={})", repr(&code), repr(&reason))
        });
        let leaving = code.extract().is_ok_and(|code: i64| code == GOING_AWAY || code == PROTOCOL_ERROR);
        if leaving
            || stream.peer_is_within_refused(py)?
            || !wait_response.map_or(Ok(true), |wait| wait.is_truthy())?
        {
            return Ok(());
        }
        if slf.call_method0(intern!(py, "receive_message"))?.is_none() {
            return Ok(());
        }
        Err(CONNECTION_TERMINATED.error(py, "Didn't receive valid ack for closing handshake"))
    }

    /// Sends a ping: bytes, or `str` as UTF-8 unless `binary`.
    ///
    /// Raises `BadOperationException` for a body of more than 125 bytes.
    #[pyo3(signature = (body, binary=None), text_signature = "($self, body, binary=False)")]
    fn send_ping(&self, body: Bound<'_, PyAny>, binary: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let py = body.py();
        let as_bytes = binary.map_or(Ok(false), |binary| binary.is_truthy())?;
        let body =
            if !as_bytes && body.is_instance_of::<PyString>() { frames::encode_text(&body)? } else { body };
        let filters = self.filters(py, Filters::OutgoingFrame)?;
        let frame = control_frame(opcode::PING, &body, self.mask_send(py)?, filters.as_ref())?;
        self.write_whole_frame(&frame)?;
        // Not with the queue locked: the buffer of an object may be a function of a handler's.
        let body = copied(&body)?;
        self.pings.lock().push_back(body);
        Ok(())
    }

    /// Sends a pong with a body of bytes.
    fn _send_pong(&self, body: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = body.py();
        let filters = self.filters(py, Filters::OutgoingFrame)?;
        let frame = control_frame(opcode::PONG, body, self.mask_send(py)?, filters.as_ref())?;
        self.write_whole_frame(&frame)
    }

    /// The opcode of the message that the last frame belongs to, `None` before the first.
    fn get_last_received_opcode(&self) -> Option<u8> {
        self.receiving.lock().last_opcode
    }
}

/// An optional argument for which `None` means something else than leaving it out.
pub(crate) enum Argument<'py> {
    /// It was left out.
    Omitted,
    /// It was given, be it `None`.
    Given(Bound<'py, PyAny>),
}

impl<'py> FromPyObject<'_, 'py> for Argument<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self::Given(object.to_owned()))
    }
}
