//! `request.ws_stream`: messages over a connection.
//!
//! One message layer over two transports: a [`Connection`] of ours, whose socket is used directly and
//! detached from Python, or any other object with `read` and `write`, whose methods are called. Control
//! frames are handled inside `receive_message`, on the handler's thread, when the handler asks.

// Methods that begin with an underscore are part of what handlers use.
#![allow(clippy::used_underscore_items)]

use std::collections::VecDeque;

use parking_lot::Mutex;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyAttributeError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use super::connection::{Connection, unpack_pair, with_bytes};
use super::deflate_framer::{self, DeflateFramer};
use super::detach::detached;
use super::exceptions::{
    BAD_OPERATION, CONNECTION_TERMINATED, INVALID_FRAME, INVALID_UTF8, UNSUPPORTED_FRAME, os_error,
    prepend_message,
};
use super::frames::{self, Fragmenter, Frame, build_fragment, control_frame, create_closing_handshake_body};
use super::limits::max_message_size;
use super::payload;
use super::python_logging::{Level, Logger, repr};
use super::socket::{FrameReadError, READ_AHEAD, RawFrame};
use super::stream_options::{self, Filters, Switch};
use super::util::inflate_error;
use crate::websocket::close::{CloseBodyError, parse_body};
use crate::websocket::frame::{FrameHeader, opcode};
use crate::websocket::message::{Assembler, Complete, FragmentError};
use crate::websocket::utf8::Utf8Progress;

static LOG: Logger = Logger::new("pywebsocket3.stream.Stream");

/// A frame of at most this many bytes is written without letting go of Python, if it goes out at once: with many
/// connections that takes less time than to get Python back.
const SMALL: usize = 4096;

/// Close codes after which no reply is waited for.
const GOING_AWAY: i64 = 1001;
const PROTOCOL_ERROR: i64 = 1002;
const NORMAL_CLOSURE: i64 = 1000;
const NO_STATUS_RECEIVED: i64 = 1005;

/// What is known of the message that is being received.
#[derive(Default)]
struct Receiving {
    assembler: Assembler,
    last_opcode: Option<u8>,
}

/// What comes next.
enum Next<'py> {
    /// A frame that has to go through filters, or together with others, or that is a control frame.
    Frame(RawFrame),
    /// A message as the handler gets it.
    Message(Bound<'py, PyAny>),
}

/// What a frame was good for.
enum Taken<'py> {
    /// It was a control frame, or part of a message.
    Nothing,
    /// It completed a message.
    Message(Bound<'py, PyAny>),
    /// It was a close frame.
    Close,
}

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
    receiving: Mutex<Receiving>,
    sending: Mutex<Fragmenter>,
    pings: Mutex<VecDeque<Vec<u8>>>,
}

impl Stream {
    /// `getattr(request, name)` as a truth value.
    fn flag(&self, name: &Bound<'_, PyString>) -> PyResult<bool> {
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
        self.request.get()?.bind(py).getattr(intern!(py, "connection"))
    }

    fn mask_send(&self, py: Python<'_>) -> PyResult<bool> {
        self.is_on(py, Switch::MaskSend)
    }

    fn closed_by_peer(connection: &Bound<'_, PyAny>, wanted: u64) -> PyErr {
        let peer = connection.getattr("remote_addr").and_then(|peer| PyTuple::new(connection.py(), [peer]));
        let peer = peer.map_or_else(|_| "unknown".to_owned(), |peer| repr(&peer));
        CONNECTION_TERMINATED.error(
            connection.py(),
            format!("Receiving {wanted} byte failed. Peer ({peer}) closed connection"),
        )
    }

    fn broken(py: Python<'_>, wanted: u64, error: &PyErr) -> PyErr {
        let text = format!("Receiving {wanted} byte failed. IOError ({}) occurred", error.value(py));
        CONNECTION_TERMINATED.error(py, text)
    }

    /// What an error while reading a frame means to the handler.
    fn read_error(connection: &Bound<'_, PyAny>, error: FrameReadError) -> PyErr {
        let py = connection.py();
        match error {
            FrameReadError::Eof { wanted } => Self::closed_by_peer(connection, wanted),
            FrameReadError::Io { wanted, source } => Self::broken(py, wanted, &os_error(py, &source)),
            FrameReadError::WrongMasking => frames::wrong_masking(py),
            FrameReadError::Length(error) => INVALID_FRAME.error(py, error.to_string()),
            FrameReadError::TooLarge => frames::too_big(py, max_message_size()),
            FrameReadError::NotUtf8(text) => not_utf8(py, &text),
        }
    }

    /// One read of at most `length` bytes.
    fn read_once(connection: &Bound<'_, PyAny>, length: u64) -> PyResult<Vec<u8>> {
        let py = connection.py();
        let data = match connection.call_method1(intern!(py, "read"), (length,)) {
            Err(error) if error.is_instance_of::<PyOSError>(py) => {
                return Err(Self::broken(py, length, &error));
            }
            other => other?,
        };
        let data = with_bytes(&data, <[u8]>::to_vec)?;
        if data.is_empty() { Err(Self::closed_by_peer(connection, length)) } else { Ok(data) }
    }

    /// Exactly `length` bytes.
    fn read_exactly(connection: &Bound<'_, PyAny>, length: u64) -> PyResult<Vec<u8>> {
        if let Ok(own) = connection.cast_exact::<Connection>() {
            let socket = &own.get().socket;
            return detached(connection.py(), || socket.read_exactly(length))
                .map_err(|error| Self::read_error(connection, error));
        }
        let mut data = Vec::new();
        while (data.len() as u64) < length {
            data.extend(Self::read_once(connection, length - data.len() as u64)?);
        }
        Ok(data)
    }

    /// Says, at FINE, that a frame is waited for.
    fn report_wanted(&self, py: Python<'_>) {
        if self.fine {
            LOG.log(py, Level::Fine, || frames::FRAME_WANTED.to_owned());
        }
    }

    fn read_frame(&self, py: Python<'_>) -> PyResult<RawFrame> {
        self.report_wanted(py);
        self.read_frame_unreported(py)
    }

    fn read_frame_unreported(&self, py: Python<'_>) -> PyResult<RawFrame> {
        let connection = self.connection(py)?;
        let masked = self.is_on(py, Switch::UnmaskReceive)?;
        let limit = max_message_size();
        let frame = if let Ok(own) = connection.cast_exact::<Connection>() {
            let socket = &own.get().socket;
            detached(py, || socket.read_frame(masked, limit))
                .map_err(|error| Self::read_error(&connection, error))?
        } else {
            let mut receive = |length| Self::read_exactly(&connection, length);
            frames::receive_frame(py, &mut receive, masked, limit)?
        };
        frames::report_header(py, &frame.header, self.fine, |level, text| LOG.log(py, level, || text));
        Ok(frame)
    }

    /// Writes `head` and `body` in one piece, which is a frame or anything else.
    fn write_parts(&self, py: Python<'_>, head: &[u8], body: &[u8], is_frame: bool) -> PyResult<()> {
        let connection = self.connection(py)?;
        let written = if let Ok(own) = connection.cast_exact::<Connection>() {
            let socket = &own.get().socket;
            let written = if !is_frame {
                detached(py, || socket.write(head, body))
            } else if head.len() + body.len() <= SMALL {
                match socket.write_frame_now(head, body) {
                    Ok(None) => Ok(()),
                    Ok(Some(unwritten)) => detached(py, || unwritten.finish(head, body)),
                    Err(error) => Err(error),
                }
            } else {
                detached(py, || socket.write_frame(head, body))
            };
            written.map_err(|error| os_error(py, &error))
        } else {
            let whole = PyBytes::new(py, &[head, body].concat());
            connection.call_method1(intern!(py, "write"), (whole,)).map(drop)
        };
        written.inspect_err(|error| Self::name_peer(&connection, error))
    }

    /// Puts the peer's address in front of the error of a write.
    fn name_peer(connection: &Bound<'_, PyAny>, error: &PyErr) {
        let peer =
            connection.getattr("remote_addr").map_or_else(|_| "unknown".to_owned(), |peer| repr(&peer));
        prepend_message(connection.py(), error, &format!("Failed to send message to {peer}: "));
    }

    fn write_whole_frame(&self, frame: &Bound<'_, PyBytes>) -> PyResult<()> {
        self.write_parts(frame.py(), frame.as_bytes(), &[], true)
    }

    /// Takes a frame into the message that it belongs to.
    fn assemble(&self, py: Python<'_>, frame: RawFrame) -> PyResult<Option<Complete>> {
        let mut receiving = self.receiving.lock();
        let FrameHeader { opcode, fin, .. } = frame.header;
        let complete = receiving.assembler.push(opcode, fin, frame.payload, max_message_size());
        // A control frame between fragments is not the message that `get_last_received_opcode` is asked about.
        let between = opcode::is_control(opcode) && receiving.assembler.open_opcode().is_some();
        if complete.is_ok() && opcode != opcode::CONTINUATION && !between {
            receiving.last_opcode = Some(opcode);
        }
        drop(receiving);
        complete.map_err(|error| match error {
            FragmentError::TooLarge => frames::too_big(py, max_message_size()),
            other => INVALID_FRAME.error(py, other.to_string()),
        })
    }

    /// The next frame, however long it takes.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Next<'py>> {
        self.report_wanted(py);
        loop {
            if let Some(next) = self.next_unless_silent(py)? {
                return Ok(next);
            }
            self.rest(py)?;
        }
    }

    /// The next frame; when it comes from a socket of ours and nothing has to be done to it, as the message that
    /// it is. `None`: nothing comes for now, and what was needed on the stack is gone.
    #[inline(never)]
    fn next_unless_silent<'py>(&self, py: Python<'py>) -> PyResult<Option<Next<'py>>> {
        let connection = self.connection(py)?;
        let Ok(own) = connection.cast_exact::<Connection>() else {
            return self.read_frame_unreported(py).map(Next::Frame).map(Some);
        };
        let socket = &own.get().socket;
        let masked = self.is_on(py, Switch::UnmaskReceive)?;
        let limit = max_message_size();
        let mut buffer = [0; READ_AHEAD];
        let mut found = socket.buffered_frame(masked, limit, &mut buffer);
        if found.is_none() {
            found = detached(py, || socket.begin_frame(masked, limit, &mut buffer))
                .map_err(|error| Self::read_error(&connection, error))?;
        }
        let Some(frame) = found else { return Ok(None) };
        let header = frame.header;
        let next = if self.is_message(py, &header)? {
            let error = |error| Self::read_error(&connection, error);
            Next::Message(payload::receive(py, frame, &mut buffer, error)?)
        } else if let Some(framer) = self.inflates(py, &header)? {
            let framer = framer.get();
            let inflated = detached(py, || {
                let payload = frame.into_raw(&buffer, None)?.payload;
                Ok(framer.inflate(&payload, limit))
            });
            let inflated = inflated.map_err(|error| Self::read_error(&connection, error))?;
            let inflated = inflated.map_err(|error| inflate_error(py, &error))?;
            Next::Message(message_object(py, header.opcode, &inflated)?)
        } else {
            let text = self.text_before(py, &header)?;
            let raw = detached(py, || frame.into_raw(&buffer, text));
            Next::Frame(raw.map_err(|error| self.with_open_text(&connection, error))?)
        };
        frames::report_header(py, &header, self.fine, |level, text| LOG.log(py, level, || text));
        Ok(Some(next))
    }

    /// Waits until there is something to read, with as little memory as it takes.
    fn rest(&self, py: Python<'_>) -> PyResult<()> {
        let connection = self.connection(py)?;
        let Ok(own) = connection.cast_exact::<Connection>() else { return Ok(()) };
        let socket = &own.get().socket;
        detached(py, || socket.rest()).map_err(|error| Self::read_error(&connection, error))
    }

    /// How far the message that a frame belongs to is UTF-8. `None`: it need not be, or filters have to see it first.
    fn text_before(&self, py: Python<'_>, header: &FrameHeader) -> PyResult<Option<Utf8Progress>> {
        let FrameHeader { opcode, rsv1, rsv2, rsv3, .. } = *header;
        let is_plain = matches!(opcode, opcode::TEXT | opcode::CONTINUATION) && !rsv1 && !rsv2 && !rsv3;
        if !is_plain || !self.takes_frames_as_they_are(py)? {
            return Ok(None);
        }
        let receiving = self.receiving.lock();
        let open = receiving.assembler.open_opcode();
        let fits = open == if opcode == opcode::TEXT { None } else { Some(opcode::TEXT) };
        Ok(fits.then(|| receiving.assembler.open_text().1))
    }

    /// Like [`Self::read_error`]; the error of a text is that of all its fragments.
    fn with_open_text(&self, connection: &Bound<'_, PyAny>, error: FrameReadError) -> PyErr {
        let error = match error {
            FrameReadError::NotUtf8(text) => {
                let receiving = self.receiving.lock();
                FrameReadError::NotUtf8([receiving.assembler.open_text().0, &text].concat())
            }
            other => other,
        };
        Self::read_error(connection, error)
    }

    /// Whether no filter wants to see what is received.
    fn takes_frames_as_they_are(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.filters(py, Filters::IncomingFrame)?.is_none()
            && self.filters(py, Filters::IncomingMessage)?.is_none())
    }

    /// Whether a frame is a message of its own that no filter wants to see; notes its opcode if so.
    fn is_message(&self, py: Python<'_>, header: &FrameHeader) -> PyResult<bool> {
        let is_whole = !header.rsv1 && is_unfragmented(header) && payload::is_direct(header.payload_length);
        Ok(is_whole && self.takes_frames_as_they_are(py)? && self.begins_message(header.opcode))
    }

    /// What inflates a frame, if that is all there is to be done to it and the frame is a message of its own; notes its
    /// opcode if so.
    fn inflates(&self, py: Python<'_>, header: &FrameHeader) -> PyResult<Option<Py<DeflateFramer>>> {
        if !header.rsv1 || !is_unfragmented(header) {
            return Ok(None);
        }
        let Some(frame_filters) = self.filters(py, Filters::IncomingFrame)? else { return Ok(None) };
        let Some(message_filters) = self.filters(py, Filters::IncomingMessage)? else { return Ok(None) };
        let framer = deflate_framer::receiving(&frame_filters, &message_filters);
        Ok(framer.filter(|_| self.begins_message(header.opcode)))
    }

    /// Notes the opcode of a message, unless another one is open.
    fn begins_message(&self, opcode: u8) -> bool {
        let mut receiving = self.receiving.lock();
        let begins = receiving.assembler.open_opcode().is_none();
        if begins {
            receiving.last_opcode = Some(opcode);
        }
        begins
    }

    /// Refuses a text message as soon as a fragment shows that it cannot be UTF-8 (RFC 6455 section 8.1). What message
    /// filters will make of the fragments, nobody knows before the last one.
    fn check_open_text(&self, py: Python<'_>) -> PyResult<()> {
        if self.filters(py, Filters::IncomingMessage)?.is_some() {
            return Ok(());
        }
        let mut receiving = self.receiving.lock();
        let Some(text) = receiving.assembler.broken_text().map(|text| PyBytes::new(py, text)) else {
            return Ok(());
        };
        drop(receiving);
        decode_text(text.into_any()).map(drop)
    }

    /// Takes a frame: what the handler gets for it, and what its control frames ask for.
    #[inline(never)]
    fn take<'py>(&self, py: Python<'py>, frame: RawFrame) -> PyResult<Taken<'py>> {
        let frame = self.filtered(py, frame)?;
        let Some(message) = self.assemble(py, frame)? else {
            self.check_open_text(py)?;
            return Ok(Taken::Nothing);
        };
        match message.opcode {
            opcode::CLOSE => {
                self._process_close_message(&PyBytes::new(py, &message.payload))?;
                return Ok(Taken::Close);
            }
            opcode::PING => self._process_ping_message(&PyBytes::new(py, &message.payload))?,
            opcode::PONG => self._process_pong_message(&PyBytes::new(py, &message.payload))?,
            _ => return self.deliver(py, message).map(Taken::Message),
        }
        Ok(Taken::Nothing)
    }

    /// A frame after the incoming frame filters, checked for what nobody negotiated.
    fn filtered(&self, py: Python<'_>, mut frame: RawFrame) -> PyResult<RawFrame> {
        if opcode::is_control(frame.header.opcode) && frame.payload.len() > 125 {
            let text = "Payload data size of control frames must be 125 bytes or less";
            return Err(INVALID_FRAME.error(py, text));
        }
        if let Some(filters) = self.filters(py, Filters::IncomingFrame)? {
            let object = Frame::from_raw(py, &frame)?.into_any();
            frames::apply_frame_filters(&filters, &object)?;
            frame = frames::raw_from_object(&object)?;
        }
        let FrameHeader { rsv1, rsv2, rsv3, .. } = frame.header;
        if rsv1 || rsv2 || rsv3 {
            let [rsv1, rsv2, rsv3] = [rsv1, rsv2, rsv3].map(u8::from);
            let text = format!("Unsupported flag is set (rsv = {rsv1}{rsv2}{rsv3})");
            return Err(UNSUPPORTED_FRAME.error(py, text));
        }
        Ok(frame)
    }

    /// A data message as the handler gets it.
    fn deliver<'py>(&self, py: Python<'py>, message: Complete) -> PyResult<Bound<'py, PyAny>> {
        // A reserved control frame may stand within a compressed message, and is none itself.
        let filtered = match self.filters(py, Filters::IncomingMessage)? {
            Some(filters) if !opcode::is_control(message.opcode) => {
                let mut payload = PyBytes::new(py, &message.payload).into_any();
                for filter in filters.try_iter()? {
                    payload = filter?.call_method1(intern!(py, "filter"), (payload,))?;
                }
                Some(payload)
            }
            _ => None,
        };
        match (message.opcode, filtered) {
            (opcode @ (opcode::BINARY | opcode::TEXT), None) => message_object(py, opcode, &message.payload),
            (opcode::BINARY, Some(payload)) => Ok(payload),
            (opcode::TEXT, Some(payload)) => decode_text(payload),
            (other, _) => Err(UNSUPPORTED_FRAME.error(py, format!("Opcode {other} is not supported"))),
        }
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
            handler.call1((request, body))?;
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

/// The exception for bytes that no further ones can make UTF-8.
fn not_utf8(py: Python<'_>, text: &[u8]) -> PyErr {
    match payload::text(py, text) {
        Err(error) => error,
        Ok(_) => INVALID_UTF8.error(py, "Text is not UTF-8"),
    }
}

/// Whether a frame is a data message of its own, by what its header says of it; RSV1 is a matter of DEFLATE.
fn is_unfragmented(header: &FrameHeader) -> bool {
    let is_data = matches!(header.opcode, opcode::TEXT | opcode::BINARY);
    is_data && header.fin && !header.rsv2 && !header.rsv3
}

/// The payload of a message as the handler gets it: `str` of a text, `bytes` of others.
fn message_object<'py>(py: Python<'py>, opcode: u8, payload: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    if opcode == opcode::TEXT { payload::text(py, payload) } else { Ok(PyBytes::new(py, payload).into_any()) }
}

/// What a filter gave for the payload of a text message, decoded.
fn decode_text(payload: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let py = payload.py();
    payload
        .call_method1(intern!(py, "decode"), (intern!(py, "utf-8"),))
        .map_err(|error| payload::invalid_utf8(py, error))
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
            receiving: Mutex::default(),
            sending: Mutex::default(),
            pings: Mutex::default(),
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
        Ok(PyBytes::new(py, &Self::read_once(&self.connection(py)?, length)?))
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
                return Ok(PyBytes::new(py, &data));
            }
            data.extend(byte);
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
        Ok(PyBytes::new(py, &Self::read_exactly(&self.connection(py)?, length)?))
    }

    /// The next frame as `(opcode, payload, fin, rsv1, rsv2, rsv3)`: no filters, no replies.
    fn _receive_frame<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        frames::frame_tuple(py, &self.read_frame(py)?)
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
                frame.setattr("payload", filter?.call_method1("filter", (frame.getattr("payload")?,))?)?;
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
        let message = self.assemble(py, frames::raw_from_object(frame)?)?;
        Ok(message.map(|message| PyBytes::new(py, &message.payload)))
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
        self.pings.lock().push_back(with_bytes(&body, <[u8]>::to_vec)?);
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

impl Stream {
    /// Whether the peer is in the middle of a frame that was refused.
    fn peer_is_within_refused(&self, py: Python<'_>) -> PyResult<bool> {
        let connection = self.connection(py)?;
        Ok(connection.cast_exact::<Connection>().is_ok_and(|own| own.get().socket.is_within_refused()))
    }

    /// Sends a message, or a piece of one.
    fn filter_and_send(&self, mut message: Bound<'_, PyAny>, end: bool, binary: bool) -> PyResult<()> {
        let py = message.py();
        let Some(filters) = self.filters(py, Filters::OutgoingMessage)? else {
            return self.send_piece(&message, end, binary).map_err(|error| bad_operation(py, error));
        };
        if let Some(frame_filters) = self.filters(py, Filters::OutgoingFrame)?
            && let Some(framer) = deflate_framer::sending(&frame_filters, &filters)
            && self.deflate_and_send(framer.get(), &message, end, binary)?
        {
            return Ok(());
        }
        for filter in filters.try_iter()? {
            message = filter?.call_method1(intern!(py, "filter"), (message, end, binary))?;
        }
        self.send_piece(&message, end, binary).map_err(|error| bad_operation(py, error))
    }

    /// Compresses and writes in one go, if that is all there is to be done. `false`: it is not.
    fn deflate_and_send(
        &self,
        framer: &DeflateFramer,
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
        if encodes || self.mask_send(py)? || !framer.compresses(py) {
            return Ok(false);
        }
        let next = self.sending.lock().next(end, binary);
        let (opcode, fin) = next.map_err(|error| bad_operation(py, error))?;
        let socket = &own.get().socket;
        detached(py, || {
            framer.compress_and(data, end, |payload, rsv1| {
                let header = outgoing_header(opcode, fin, rsv1, payload.len());
                socket.write_frame(&header.encode(), payload)
            })
        })
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
