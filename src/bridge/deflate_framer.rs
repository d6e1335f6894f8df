//! Permessage-deflate (RFC 7692) on a connection: the filters that a processor puts into its stream's options.

use std::mem::{self, MaybeUninit};

use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::connection::with_bytes;
use super::detach::detached;
use super::frames::encode_text;
use super::limits::{Share, max_message_size};
use super::locks::{Lock, TurnKept, Turns};
use super::payload;
use super::python_logging::{Level, Logger, repr};
use super::refusals::{NotInflated, memory_error};
use super::transport::zeroed;
use super::util::{DEFLATER_LOG, INFLATER_LOG, MAX_WINDOW_BITS};
use crate::websocket::deflate::{InflateError, Inflating, MAX_GROWTH, MessageDeflater, MessageInflater};
use crate::websocket::frame::{FrameHeader, opcode};
use crate::websocket::memory::NoMemory;

static LOG: Logger = Logger::new("pywebsocket3.extensions._PerMessageDeflateFramer");

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
    /// A message, or a fragment of one, as the payload of a frame.
    fn compress(&mut self, data: &[u8], end: bool) -> Result<Vec<u8>, NoMemory> {
        let compressed = self.deflater.filter(data, end, self.bfinal)?;
        if !self.ongoing {
            self.mark_next_frame = true;
        }
        self.ongoing = !end;
        Ok(compressed)
    }

    /// Whether the next data frame gets RSV1. Asked once for each frame.
    fn takes_mark(&mut self) -> bool {
        mem::take(&mut self.mark_next_frame)
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
///
/// It does so through its filters, as in the reference. Where a stream has no filters but these, it asks
/// [`receiving`] and [`sending`] and leaves the objects that filters need out.
#[pyclass(name = "_PerMessageDeflateFramer", frozen, module = "pywebsocket3.extensions")]
pub struct DeflateFramer {
    outgoing: Lock<Outgoing>,
    incoming: Lock<Incoming>,
    /// One message is inflated after the other.
    inflating: Turns,
    /// Whether messages are logged, which only the filters do; asked once.
    logs: bool,
}

impl DeflateFramer {
    /// Compresses outgoing messages from now on.
    pub(super) fn enable(&self) {
        self.outgoing.lock().enabled = true;
    }

    /// Does `work` to the state of what is sent. A thread that waits for the peer may have it, so it is waited for
    /// detached.
    fn with_outgoing<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Outgoing) -> T + Send) -> T {
        match self.outgoing.try_lock() {
            Some(mut outgoing) => work(&mut outgoing),
            None => detached(py, || work(&mut self.outgoing.lock())),
        }
    }

    /// The same for the state of what is received, which a thread that inflates may have.
    fn with_incoming<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Incoming) -> T + Send) -> T {
        match self.incoming.try_lock() {
            Some(mut incoming) => work(&mut incoming),
            None => detached(py, || work(&mut self.incoming.lock())),
        }
    }

    /// Takes RSV1 off the first frame of a compressed message, as the filter of frames does.
    pub(super) fn takes_mark(&self, py: Python<'_>, header: &mut FrameHeader) {
        if header.rsv1 && !opcode::is_control(header.opcode) {
            self.with_incoming(py, |incoming| incoming.inflate_next = true);
            header.rsv1 = false;
        }
    }

    /// Whether a message that has come as a whole is compressed. Asked once for each.
    pub(super) fn takes_inflate_next(&self, py: Python<'_>) -> bool {
        self.with_incoming(py, |incoming| mem::take(&mut incoming.inflate_next))
    }

    /// Begins to inflate the payload of a compressed message, which most messages are done with. `share` counts it
    /// together with what it inflates to. Must be called detached from Python: another message may have the turn.
    pub(super) fn begin<'a>(
        &'a self,
        payload: &'a [u8],
        share: &mut Share,
    ) -> Result<Inflated<'a>, NotInflated> {
        let turn = self.inflating.take();
        let mut message = Inflating::new(payload, max_message_size());
        let mut ahead = Vec::new();
        let mut is_whole = false;
        while !is_whole && ahead.len() < MAX_GROWTH {
            is_whole = self.incoming.lock().inflater.inflate_more(&mut message, &mut ahead)?;
        }
        let compressed = payload.len() as u64;
        if is_whole {
            share.grow_to(compressed + message.size())?;
            return Ok(Inflated::Whole(ahead));
        }
        Ok(Inflated::Begun(InflatingMessage { framer: self, message, ahead, compressed, _turn: turn }))
    }

    /// Whether messages are compressed, or sent as they are.
    pub(super) fn compresses(&self, py: Python<'_>) -> bool {
        self.with_outgoing(py, |outgoing| outgoing.enabled)
    }

    /// Compresses a message, or a fragment of one, and gives the payload to `write`, with whether its frame gets RSV1.
    /// Other messages wait meanwhile: what is compressed first must be sent first.
    pub(super) fn compress_and<T>(
        &self,
        data: &[u8],
        end: bool,
        write: impl FnOnce(&[u8], bool) -> T,
    ) -> Result<T, NoMemory> {
        let mut outgoing = self.outgoing.lock();
        let payload = outgoing.compress(data, end)?;
        let rsv1 = outgoing.takes_mark();
        Ok(write(&payload, rsv1))
    }
}

/// A message that was inflated, or that turned out to be large.
pub(super) enum Inflated<'a> {
    /// All of it.
    Whole(Vec<u8>),
    /// There is more.
    Begun(InflatingMessage<'a>),
}

/// A large message that is being inflated. No other one is while it lives.
pub(super) struct InflatingMessage<'a> {
    framer: &'a DeflateFramer,
    message: Inflating<'a>,
    /// Its beginning, until that was taken.
    ahead: Vec<u8>,
    /// The size of its payload.
    compressed: u64,
    _turn: TurnKept<'a>,
}

/// A piece of an inflated message.
pub(super) struct Piece {
    pub(super) size: usize,
    pub(super) is_ascii: bool,
    pub(super) is_last: bool,
}

impl InflatingMessage<'_> {
    /// Inflates as much as there is room for, which is [`MAX_GROWTH`] at least twice.
    pub(super) fn fill(
        &mut self,
        room: &mut [MaybeUninit<u8>],
        share: &mut Share,
    ) -> Result<Piece, NotInflated> {
        let ahead = mem::take(&mut self.ahead);
        for (to, from) in room.iter_mut().zip(&ahead) {
            to.write(*from);
        }
        let mut piece = Piece { size: ahead.len(), is_ascii: ahead.is_ascii(), is_last: false };
        drop(ahead);
        while piece.size < room.len() && !piece.is_last {
            let end = room.len().min(piece.size + MAX_GROWTH);
            let part = zeroed(&mut room[piece.size..end]);
            let count = self.framer.incoming.lock().inflater.inflate_piece(&mut self.message, part)?;
            piece.size += count;
            piece.is_ascii &= part[..count].is_ascii();
            piece.is_last = count < part.len();
            if let Err(error) = share.grow_to(self.compressed + self.message.size()) {
                self.fail();
                return Err(error.into());
            }
        }
        Ok(piece)
    }

    /// Leaves the message as it is. It was the last one.
    pub(super) fn fail(&self) {
        self.framer.incoming.lock().inflater.fail(InflateError::TooLarge);
    }
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
pub(super) fn receiving(
    frame_filters: &Bound<'_, PyAny>,
    message_filters: &Bound<'_, PyAny>,
) -> Option<Py<DeflateFramer>> {
    let frames = only::<IncomingFrameFilter>(frame_filters)?;
    let messages = only::<IncomingMessageFilter>(message_filters)?;
    chosen(frame_filters.py(), &frames.get().0, &messages.get().0)
}

/// The framer whose filters are all that a stream has for what it sends, and that does not log.
pub(super) fn sending(
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
    pub(super) fn new(
        py: Python<'_>,
        deflate_max_window_bits: Option<u8>,
        deflate_no_context_takeover: bool,
    ) -> Self {
        let bits = deflate_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        Self {
            outgoing: Lock::new(Outgoing {
                deflater: MessageDeflater::new(bits, deflate_no_context_takeover),
                bfinal: false,
                enabled: false,
                ongoing: false,
                mark_next_frame: false,
            }),
            incoming: Lock::new(Incoming {
                // Any window the client uses fits into the largest one.
                inflater: MessageInflater::new(MAX_WINDOW_BITS),
                inflate_next: false,
            }),
            inflating: Turns::default(),
            logs: [&LOG, &DEFLATER_LOG, &INFLATER_LOG].iter().any(|log| log.enabled(py, Level::Debug)),
        }
    }

    /// See `PerMessageDeflateExtensionProcessor.set_bfinal`.
    fn set_bfinal(&self, value: Bound<'_, PyAny>) -> PyResult<()> {
        let py = value.py();
        let value = value.is_truthy()?;
        self.with_outgoing(py, |outgoing| outgoing.bfinal = value);
        Ok(())
    }

    /// See `PerMessageDeflateExtensionProcessor.enable_outgoing_compression`.
    fn set_compress_outgoing_enabled(&self, value: Bound<'_, PyAny>) -> PyResult<()> {
        let py = value.py();
        let value = value.is_truthy()?;
        self.with_outgoing(py, |outgoing| outgoing.enabled = value);
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
        if !framer.compresses(py) {
            return Ok(payload);
        }
        let compressed =
            with_bytes(&payload, |data| detached(py, || framer.outgoing.lock().compress(data, end)))?;
        let compressed = compressed.map_err(|_| memory_error())?;
        let compressed = payload::bytes(py, &compressed)?.into_any();
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
    /// The message of a payload: inflated when its first frame had RSV1.
    fn filter<'py>(&self, message: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        let framer = self.0.get();
        if !framer.takes_inflate_next(py) {
            return Ok(message);
        }
        let mut share = Share::default();
        let inflated = with_bytes(&message, |data| payload::inflate(py, framer, data, false, &mut share))??;
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
        self.0.get().with_incoming(py, |incoming| incoming.inflate_next = true);
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
        if self.0.get().with_outgoing(frame.py(), Outgoing::takes_mark) {
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
            self.0.get().with_incoming(frame.py(), |incoming| incoming.inflate_next = true);
            frame.setattr("rsv1", 0)?;
        }
        Ok(())
    }
}
