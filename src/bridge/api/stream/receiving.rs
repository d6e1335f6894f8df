//! How a [`Stream`] receives: frames from its connection, and messages out of frames.

use std::mem;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::bridge::api::connection::Connection;
use crate::bridge::api::deflate_framer::{self, DeflateFramer};
use crate::bridge::api::frame_reading;
use crate::bridge::api::frames::{self, Frame};
use crate::bridge::api::payload;
use crate::bridge::api::stream::received::{Next, Taken};
use crate::bridge::api::stream::{LOG, Stream};
use crate::bridge::api::stream_options::{self, Filters, Switch};
use crate::bridge::python::cached::intern;
use crate::bridge::python::convert::{self, copied};
use crate::bridge::python::detach::detached;
use crate::bridge::python::exceptions::{
    CONNECTION_TERMINATED, INVALID_FRAME, INVALID_UTF8, UNSUPPORTED_FRAME, os_error,
};
use crate::bridge::python::last_call::call;
use crate::bridge::python::logging::{Level, repr};
use crate::bridge::python::refusals;
use crate::websocket::frame::{FrameHeader, opcode};
use crate::websocket::memory;
use crate::websocket::message::{Assembler, Complete, FragmentError};
use crate::websocket::reader::FrameReader;
use crate::websocket::utf8::Utf8Progress;
use crate::wire::limits::Share;
use crate::wire::socket::{FrameReadError, READ_AHEAD, RawFrame};

impl Stream {
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
            FrameReadError::Refused(refusal) => frame_reading::refused(py, refusal),
            FrameReadError::NotUtf8(text) => not_utf8(py, &text),
            FrameReadError::NoMemory => refusals::no_memory(py),
            FrameReadError::TotalExceeded(error) => refusals::total_exceeded(py, error),
        }
    }

    /// One read of at most `length` bytes.
    pub(super) fn read_once(connection: &Bound<'_, PyAny>, length: u64) -> PyResult<Vec<u8>> {
        let py = connection.py();
        let data = match connection.getattr(intern!(py, "read")).and_then(|read| call(&read, (length,))) {
            Err(error) if error.is_instance_of::<PyOSError>(py) => {
                return Err(Self::broken(py, length, &error));
            }
            other => other?,
        };
        let data = copied(&data)?;
        if data.is_empty() { Err(Self::closed_by_peer(connection, length)) } else { Ok(data) }
    }

    /// Exactly `length` bytes.
    pub(super) fn read_exactly(connection: &Bound<'_, PyAny>, length: u64) -> PyResult<Vec<u8>> {
        if let Ok(own) = connection.cast_exact::<Connection>() {
            let socket = &own.get().socket;
            return detached(connection.py(), || socket.read_exactly(length)).map_err(|error| match error {
                FrameReadError::NoMemory => refusals::memory_error(),
                other => Self::read_error(connection, other),
            });
        }
        let mut data = Vec::new();
        while (data.len() as u64) < length {
            let more = Self::read_once(connection, length - data.len() as u64)?;
            memory::append(&mut data, &more).map_err(|_| refusals::memory_error())?;
        }
        Ok(data)
    }

    /// Says, at FINE, that a frame is waited for.
    fn report_wanted(&self, py: Python<'_>) {
        if self.fine {
            LOG.log(py, Level::Fine, || frame_reading::FRAME_WANTED.to_owned());
        }
    }

    pub(super) fn read_frame(&self, py: Python<'_>) -> PyResult<RawFrame> {
        self.report_wanted(py);
        self.read_frame_unreported(py)
    }

    fn read_frame_unreported(&self, py: Python<'_>) -> PyResult<RawFrame> {
        let connection = self.connection(py)?;
        let masked = self.is_on(py, Switch::UnmaskReceive)?;
        let frame = if let Ok(own) = connection.cast_exact::<Connection>() {
            let socket = &own.get().socket;
            let reader = FrameReader { masked, limit: socket.limits.max_message_size() };
            detached(py, || socket.read_frame(reader))
                .map_err(|error| Self::read_error(&connection, error))?
        } else {
            let mut receive = |length| Self::read_exactly(&connection, length);
            frame_reading::receive_frame(py, &mut receive, masked)?
        };
        frame_reading::report_header(py, &frame.header, self.fine, |level, text| LOG.log(py, level, || text));
        Ok(frame)
    }

    /// Takes a frame into the message that it belongs to; gives the message that it completes, and what counts it.
    pub(super) fn assemble(&self, py: Python<'_>, frame: RawFrame) -> PyResult<Option<(Complete, Share)>> {
        let limits = self.limits(py)?;
        let mut receiving = self.receiving.lock();
        let FrameHeader { opcode, fin, .. } = frame.header;
        let is_control = opcode::is_control(opcode);
        if !is_control {
            let size = receiving.assembler.open_size().saturating_add(frame.payload.len());
            // What has come of the frame is counted with the message from here on.
            drop(frame.share);
            if let Err(error) = receiving.share.grow_to(size as u64, &limits) {
                drop(receiving);
                self.forget_open();
                return Err(refusals::total_exceeded(py, error));
            }
        }
        let complete = receiving.assembler.push(opcode, fin, frame.payload, limits.max_message_size());
        // A control frame between fragments is not the message that `get_last_received_opcode` is asked about.
        let between = is_control && receiving.assembler.open_opcode().is_some();
        if complete.is_ok() && opcode != opcode::CONTINUATION && !between {
            receiving.last_opcode = Some(opcode);
        }
        let is_open = receiving.assembler.open_opcode().is_some();
        let share = if is_open { Share::default() } else { mem::take(&mut receiving.share) };
        drop(receiving);
        let complete = complete.map_err(|error| match error {
            FragmentError::TooLarge => refusals::too_big(py, limits.max_message_size()),
            FragmentError::NoMemory(_) => {
                self.forget_open();
                refusals::no_memory(py)
            }
            other => INVALID_FRAME.error(py, other.to_string()),
        });
        Ok(complete?.map(|message| (message, share)))
    }

    /// Gives back what is there of a message of which a piece was refused: it would have a hole.
    fn forget_open(&self) {
        let mut receiving = self.receiving.lock();
        receiving.assembler = Assembler::new();
        receiving.share = Share::default();
    }

    /// The next frame, however long it takes.
    pub(super) fn next<'py>(&self, py: Python<'py>) -> PyResult<Next<'py>> {
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
        let reader = FrameReader { masked, limit: socket.limits.max_message_size() };
        let mut buffer = [0; READ_AHEAD];
        let mut found = socket.buffered_frame(reader, &mut buffer);
        if found.is_none() {
            found = detached(py, || socket.begin_frame(reader, &mut buffer))
                .map_err(|error| Self::read_error(&connection, error))?;
        }
        let Some(frame) = found else { return Ok(None) };
        let header = frame.header;
        // Nobody else can read while the frame is open, so nobody's code is asked what to do with it.
        let next = if !stream_options::are_plain(self.options.get()?.bind(py)) {
            let raw = detached(py, || frame.into_raw(&buffer, None));
            Next::Frame(raw.map_err(|error| Self::read_error(&connection, error))?)
        } else if self.is_message(py, &header)? {
            let error = |error| Self::read_error(&connection, error);
            let (message, share) = payload::receive(py, frame, &mut buffer, error)?;
            self.lent.lend(&share);
            Next::Message(message)
        } else if let Some(framer) = self.inflates(py, &header)? {
            let error = |error| Self::read_error(&connection, error);
            let is_text = header.opcode == opcode::TEXT;
            let (message, share) =
                payload::receive_deflated(py, frame, &buffer, &framer.get().deflation, is_text, error)?;
            self.lent.lend(&share);
            Next::Message(message)
        } else {
            let text = self.text_before(py, &header)?;
            let raw = detached(py, || frame.into_raw(&buffer, text));
            Next::Frame(raw.map_err(|error| self.with_open_text(&connection, error))?)
        };
        frame_reading::report_header(py, &header, self.fine, |level, text| LOG.log(py, level, || text));
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

    /// Like [`Self::read_error`]; the error of a text is that of all its fragments, and a message is lost as a whole.
    fn with_open_text(&self, connection: &Bound<'_, PyAny>, error: FrameReadError) -> PyErr {
        let error = match error {
            FrameReadError::NotUtf8(text) => {
                let receiving = self.receiving.lock();
                let whole = memory::copy(receiving.assembler.open_text().0)
                    .and_then(|mut whole| memory::append(&mut whole, &text).map(|()| whole));
                whole.map_or(FrameReadError::NoMemory, FrameReadError::NotUtf8)
            }
            other => other,
        };
        if matches!(error, FrameReadError::NoMemory | FrameReadError::TotalExceeded(_)) {
            self.forget_open();
        }
        Self::read_error(connection, error)
    }

    /// Whether no filter wants to see what is received.
    fn takes_frames_as_they_are(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.filters(py, Filters::IncomingFrame)?.is_none()
            && self.filters(py, Filters::IncomingMessage)?.is_none())
    }

    /// What inflates messages, if that is all that the filters do.
    fn framer(&self, py: Python<'_>) -> PyResult<Option<Py<DeflateFramer>>> {
        let Some(frame_filters) = self.filters(py, Filters::IncomingFrame)? else { return Ok(None) };
        let Some(message_filters) = self.filters(py, Filters::IncomingMessage)? else { return Ok(None) };
        Ok(deflate_framer::receiving(&frame_filters, &message_filters))
    }

    /// Whether a frame is a message of its own that nothing has to be done to; notes its opcode if so.
    fn is_message(&self, py: Python<'_>, header: &FrameHeader) -> PyResult<bool> {
        if header.rsv1 || !is_unfragmented(header) {
            return Ok(false);
        }
        let is_left_alone = self.takes_frames_as_they_are(py)? || self.framer(py)?.is_some();
        Ok(is_left_alone && self.begins_message(header.opcode))
    }

    /// What inflates a frame, if that is all there is to be done to it and the frame is a message of its own; notes its
    /// opcode if so.
    fn inflates(&self, py: Python<'_>, header: &FrameHeader) -> PyResult<Option<Py<DeflateFramer>>> {
        if !header.rsv1 || !is_unfragmented(header) {
            return Ok(None);
        }
        Ok(self.framer(py)?.filter(|_| self.begins_message(header.opcode)))
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
        let Some(text) = receiving.assembler.broken_text().map(memory::copy) else {
            return Ok(());
        };
        drop(receiving);
        Err(text.map_or_else(|_| refusals::no_memory(py), |text| not_utf8(py, &text)))
    }

    /// Takes a frame: what the handler gets for it, and what its control frames ask for.
    #[inline(never)]
    pub(super) fn take<'py>(&self, py: Python<'py>, frame: RawFrame) -> PyResult<Taken<'py>> {
        let frame = self.filtered(py, frame).map_err(|error| refusals::received(py, error))?;
        let Some((message, mut share)) = self.assemble(py, frame)? else {
            self.check_open_text(py)?;
            return Ok(Taken::Nothing);
        };
        match message.opcode {
            opcode::CLOSE => {
                self._process_close_message(&convert::bytes(py, &message.payload)?)?;
                return Ok(Taken::Close);
            }
            opcode::PING => self._process_ping_message(&convert::bytes(py, &message.payload)?)?,
            opcode::PONG => self._process_pong_message(&convert::bytes(py, &message.payload)?)?,
            _ => {
                let message =
                    self.deliver(py, message, &mut share).map_err(|error| refusals::received(py, error))?;
                self.lent.lend(&share);
                return Ok(Taken::Message(message));
            }
        }
        Ok(Taken::Nothing)
    }

    /// A frame after the incoming frame filters, checked for what nobody negotiated.
    fn filtered(&self, py: Python<'_>, mut frame: RawFrame) -> PyResult<RawFrame> {
        if opcode::is_control(frame.header.opcode) && frame.payload.len() > 125 {
            let text = "Payload data size of control frames must be 125 bytes or less";
            return Err(INVALID_FRAME.error(py, text));
        }
        if let Some(framer) = self.framer(py)? {
            framer.get().deflation.takes_mark(py, &mut frame.header);
        } else if let Some(filters) = self.filters(py, Filters::IncomingFrame)? {
            let object = Frame::from_raw(py, &frame)?.into_any();
            frames::apply_frame_filters(&filters, &object)?;
            frame = frames::raw_from_object(&object, frame.share, &self.limits(py)?)?;
        }
        let FrameHeader { rsv1, rsv2, rsv3, .. } = frame.header;
        if rsv1 || rsv2 || rsv3 {
            let [rsv1, rsv2, rsv3] = [rsv1, rsv2, rsv3].map(u8::from);
            let text = format!("Unsupported flag is set (rsv = {rsv1}{rsv2}{rsv3})");
            return Err(UNSUPPORTED_FRAME.error(py, text));
        }
        Ok(frame)
    }

    /// A data message as the handler gets it, which `share` counts.
    fn deliver<'py>(
        &self,
        py: Python<'py>,
        message: Complete,
        share: &mut Share,
    ) -> PyResult<Bound<'py, PyAny>> {
        let is_text = message.opcode == opcode::TEXT;
        if (is_text || message.opcode == opcode::BINARY)
            && let Some(framer) = self.framer(py)?
        {
            let deflation = &framer.get().deflation;
            return if deflation.takes_inflate_next(py) {
                payload::inflate(py, deflation, &message.payload, is_text, share, &self.limits(py)?)
            } else {
                convert::message(py, &message.payload, is_text)
            };
        }
        // A reserved control frame may stand within a compressed message, and is none itself.
        let filtered = match self.filters(py, Filters::IncomingMessage)? {
            Some(filters) if !opcode::is_control(message.opcode) => {
                let mut payload = convert::bytes(py, &message.payload)?.into_any();
                for filter in filters.try_iter()? {
                    payload = call(&filter?.getattr(intern!(py, "filter"))?, (payload,))?;
                }
                Some(payload)
            }
            _ => None,
        };
        match (message.opcode, filtered) {
            (opcode::BINARY | opcode::TEXT, None) => convert::message(py, &message.payload, is_text),
            (opcode::BINARY, Some(payload)) => Ok(payload),
            (opcode::TEXT, Some(payload)) => decode_text(payload),
            (other, _) => Err(UNSUPPORTED_FRAME.error(py, format!("Opcode {other} is not supported"))),
        }
    }
}

/// The exception for bytes that no further ones can make UTF-8.
fn not_utf8(py: Python<'_>, text: &[u8]) -> PyErr {
    match convert::text(py, text) {
        Err(error) => error,
        Ok(_) => INVALID_UTF8.error(py, "Text is not UTF-8"),
    }
}

/// Whether a frame is a data message of its own, by what its header says of it; RSV1 is a matter of DEFLATE.
fn is_unfragmented(header: &FrameHeader) -> bool {
    let is_data = matches!(header.opcode, opcode::TEXT | opcode::BINARY);
    is_data && header.fin && !header.rsv2 && !header.rsv3
}

/// What a filter gave for the payload of a text message, decoded.
fn decode_text(payload: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let py = payload.py();
    payload
        .call_method1(intern!(py, "decode"), (intern!(py, "utf-8"),))
        .map_err(|error| convert::invalid_utf8(py, error))
}
