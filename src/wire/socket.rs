//! The socket of a handler: blocking reads and writes, called detached from Python. What never waits says so.

pub(crate) mod cork;
mod linger;
mod open_frame;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::config::PingConfig;
use crate::handlers::Counters;
use crate::locks::Turn;
use crate::logging::LOG_REQUEST;
use crate::threads::stack;
use crate::websocket::frame::{FrameHeader, HeaderStep, LengthError, missing_in_field, opcode, parse_header};
use crate::websocket::mask::apply_mask;
use crate::websocket::memory::{self, NoMemory};
use crate::wire::heartbeat::{Heartbeat, is_pong, may_be_pong};
use crate::wire::limits::{Share, TotalExceeded};
use crate::wire::transport::Duplex;

pub use open_frame::OpenFrame;

/// How much is read at once when a frame header is wanted: the header and a small payload together. What is
/// read too much stays here, where `connection.read` finds it, too.
pub const READ_AHEAD: usize = 2048;

/// How long one read waits for bytes. From then on a text is looked at piece by piece as it comes, and a thread that
/// waits for a frame gives back memory ([`Socket::rest`]).
const READ_PATIENCE: Duration = Duration::from_millis(200);

/// Where a frame header's 8-byte length ends (RFC 6455 section 5.2).
const LONG_LENGTH_END: usize = 10;

/// The most that one raw read returns, however much is asked for.
const RAW_READ: usize = 1 << 20;

/// A connection's socket. Reading and writing share no lock, so one thread may wait for a message while
/// another sends.
pub struct Socket {
    link: RwLock<Link>,
    /// Whether the peer has sent a close frame, after which it sends nothing more (RFC 6455 section 5.5.1).
    heard_close: AtomicBool,
    /// Whether nobody waits for the peer any more.
    is_cut: AtomicBool,
    unread: Mutex<BytesMut>,
    /// How many bytes of a frame that was refused are still to come; the next frame is behind them. Changed with
    /// `unread` locked only.
    refused: AtomicU64,
    writing: Mutex<()>,
    /// Whether the system may keep back something that was sent.
    corked: AtomicBool,
    heartbeat: Option<Heartbeat>,
    /// The client's address.
    pub peer: SocketAddr,
    /// What went over it.
    pub counters: Counters,
}

/// How far a connection is.
enum Link {
    Open(Arc<Duplex>),
    /// It is closed for everybody here; the peer gets what was sent to it.
    Ending(Arc<Duplex>),
    Closed,
}

/// Why a frame could not be read.
#[derive(Debug)]
pub enum FrameReadError {
    /// The peer closed the connection with this many bytes still wanted.
    Eof {
        /// Bytes that were wanted.
        wanted: u64,
    },
    /// The system refused with this many bytes still wanted.
    Io {
        /// Bytes that were wanted.
        wanted: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The frame is masked and must not be, or the other way round.
    WrongMasking,
    /// The length field is 2^63 or more.
    Length(LengthError),
    /// The payload is larger than the limit.
    TooLarge,
    /// The payload is text that is no UTF-8; this is what had come of it.
    NotUtf8(Vec<u8>),
    /// There is no memory for the payload.
    NoMemory,
    /// The messages of all connections would be larger than they may be together.
    TotalExceeded,
}

impl From<NoMemory> for FrameReadError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

impl From<TotalExceeded> for FrameReadError {
    fn from(_: TotalExceeded) -> Self {
        Self::TotalExceeded
    }
}

/// A frame as it came from the wire, its payload unmasked.
#[derive(Debug)]
pub struct RawFrame {
    /// The header.
    pub header: FrameHeader,
    /// The payload.
    pub payload: Vec<u8>,
    /// The payload, counted.
    pub share: Share,
}

/// What [`Socket::write_now`] did not write as a whole.
pub struct Unwritten<'a> {
    socket: &'a Socket,
    /// The turn to write, unless another thread has it.
    turn: Option<MutexGuard<'a, ()>>,
    written: usize,
}

impl Unwritten<'_> {
    /// Writes the rest. Waits for the peer, and before that for the threads that write.
    pub fn finish(self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let _turn = self.turn.unwrap_or_else(|| self.socket.writing.lock());
        self.socket.write_from(self.written, head, body)
    }
}

impl Socket {
    /// Takes over a connection and what was already read from it; `ping` says when to ask whether the peer is there.
    pub fn new(stream: Duplex, unread: &Bytes, peer: SocketAddr, ping: Option<PingConfig>) -> Self {
        // Refused by the system: then a silent connection keeps its memory, and nobody is asked.
        let _ = stream.set_read_timeout(Some(READ_PATIENCE));
        Self {
            link: RwLock::new(Link::Open(Arc::new(stream))),
            heard_close: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            heartbeat: ping.map(Heartbeat::new),
            unread: Mutex::new(BytesMut::from(unread.as_ref())),
            refused: AtomicU64::new(0),
            writing: Mutex::new(()),
            corked: AtomicBool::new(false),
            peer,
            counters: Counters::default(),
        }
    }

    /// The socket, or the error that Python gives for a closed file.
    fn open(&self) -> io::Result<Arc<Duplex>> {
        match &*self.link.read() {
            Link::Open(stream) => Ok(Arc::clone(stream)),
            Link::Ending(_) | Link::Closed => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    /// One raw read of at most `max` bytes; empty at the end of the stream.
    pub fn read_some(&self, max: usize) -> io::Result<Vec<u8>> {
        let stream = self.open()?;
        if max == 0 {
            return Ok(Vec::new());
        }
        let max = max.min(RAW_READ);
        let mut unread = self.unread.lock();
        if !unread.is_empty() {
            let taken = max.min(unread.len());
            self.counters.received(taken as u64);
            return Ok(unread.split_to(taken).to_vec());
        }
        self.uncork(&stream);
        let mut buffer = memory::zeroed(max).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let _waiting = self.counters.reading();
        let count = read_retrying(&stream, &mut buffer)?;
        self.counters.received(count as u64);
        buffer.truncate(count);
        Ok(buffer)
    }

    /// Exactly `length` bytes, or the error with what was still wanted.
    pub fn read_exactly(&self, length: u64) -> Result<Vec<u8>, FrameReadError> {
        let stream = self.open().map_err(|source| FrameReadError::Io { wanted: length, source })?;
        self.uncork(&stream);
        let _waiting = self.counters.reading();
        let data = read_bytes(&stream, &mut self.unread.lock(), length)?;
        self.counters.received(length);
        Ok(data)
    }

    /// One read of a frame of which `wanted` bytes are missing. `None`: nothing came within [`READ_PATIENCE`].
    fn read_once(
        &self,
        wanted: u64,
        mut read: impl FnMut() -> io::Result<usize>,
    ) -> Result<Option<usize>, FrameReadError> {
        loop {
            match read() {
                Ok(0) => return Err(FrameReadError::Eof { wanted }),
                Ok(count) => {
                    if let Some(heartbeat) = &self.heartbeat {
                        heartbeat.heard();
                    }
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(source) => return Err(FrameReadError::Io { wanted, source }),
            }
        }
    }

    /// The same for as long as it takes.
    fn read_alive(
        &self,
        stream: &Duplex,
        wanted: u64,
        mut read: impl FnMut() -> io::Result<usize>,
    ) -> Result<usize, FrameReadError> {
        loop {
            match self.read_once(wanted, &mut read)? {
                Some(count) => return Ok(count),
                None => self.wait_for_more(stream, wanted)?,
            }
        }
    }

    /// Reads at least one byte of a frame into `buffer`; the error of an end of the stream says that `wanted` were
    /// missing.
    fn read_something(
        &self,
        stream: &Duplex,
        buffer: &mut [u8],
        wanted: u64,
    ) -> Result<usize, FrameReadError> {
        self.read_alive(stream, wanted, || stream.read(buffer))
    }

    /// Waits until there is something to read, behind a read that found nothing. A peer that stays silent is asked
    /// whether it is there, if that is wanted.
    fn wait_for_more(&self, stream: &Duplex, wanted: u64) -> Result<(), FrameReadError> {
        self.wait_or_ask(stream).map_err(|source| FrameReadError::Io { wanted, source })
    }

    fn wait_or_ask(&self, stream: &Duplex) -> io::Result<()> {
        match &self.heartbeat {
            None => stream.wait_readable(None).map(drop),
            Some(heartbeat) => self.wait_and_ask(stream, heartbeat),
        }
    }

    #[inline(never)]
    fn wait_and_ask(&self, stream: &Duplex, heartbeat: &Heartbeat) -> io::Result<()> {
        let mut waited = READ_PATIENCE;
        while !stream.wait_readable(Some(heartbeat.patience().saturating_sub(waited)))? {
            waited = Duration::ZERO;
            let asked = heartbeat.silent(|ping| match self.writing.try_lock() {
                Some(_turn) if heartbeat.is_closing() => Ok(true),
                Some(_turn) => stream.send_whole_now(ping),
                // A thread that is writing will find out itself.
                None => Ok(false),
            });
            asked.inspect_err(|error| {
                tracing::info!(target: LOG_REQUEST, "{}: gone without a word: {error}", self.peer);
            })?;
        }
        Ok(())
    }

    /// Waits for the next frame behind a [`begin_frame`](Self::begin_frame) that found none, with as little memory as
    /// it takes: the thread gives back what its stack has below the caller.
    pub fn rest(&self) -> Result<(), FrameReadError> {
        let stream = self.open().map_err(|source| FrameReadError::Io { wanted: 1, source })?;
        let _waiting = self.counters.reading();
        stack::release_unused();
        self.wait_for_more(&stream, 1)
    }

    /// Begins to read a frame: waits for its header, and takes as much of the payload as came with it into
    /// `buffer`. `masked` says whether the frame must be (RFC 6455 section 5.1: a client's must). Of a frame that
    /// is refused, as much of the header is taken as it took to see that, as in the reference. The answers to our own
    /// pings are nobody's business. `None`: nothing came within [`READ_PATIENCE`].
    pub fn begin_frame(
        &self,
        masked: bool,
        limit: u64,
        buffer: &mut [u8; READ_AHEAD],
    ) -> Result<Option<OpenFrame<'_>>, FrameReadError> {
        loop {
            let Some(mut frame) = self.begin_any_frame(masked, limit, buffer)? else { return Ok(None) };
            if self.heartbeat.is_none() || !may_be_pong(&frame.header) {
                return Ok(Some(frame));
            }
            frame.hold_all(buffer)?;
            let mut body = buffer[..frame.held].to_vec();
            if let Some(key) = frame.header.mask {
                apply_mask(&mut body, key, 0);
            }
            if !is_pong(&body) {
                return Ok(Some(frame));
            }
        }
    }

    fn begin_any_frame(
        &self,
        masked: bool,
        limit: u64,
        buffer: &mut [u8; READ_AHEAD],
    ) -> Result<Option<OpenFrame<'_>>, FrameReadError> {
        let stream = self.open().map_err(|source| FrameReadError::Io { wanted: 1, source })?;
        self.counters.message_wanted();
        let _waiting = self.counters.reading();
        self.uncork(&stream);
        let mut unread = self.unread.lock();
        self.pass_over_refused(&stream, &mut unread, buffer)?;
        if unread.is_empty() {
            // Nothing is kept for a connection that only waits.
            *unread = BytesMut::new();
            let Some(count) = self.read_once(1, || stream.read(buffer))? else { return Ok(None) };
            let read = &buffer[..count];
            if let Ok(HeaderStep::Done { header, length }) = parse_header(read)
                && header.mask.is_some() == masked
                && header.payload_length <= limit
            {
                let held = header.payload_length.min((count - length) as u64);
                let end = length + usize::try_from(held).unwrap_or(0);
                unread.extend_from_slice(&read[end..]);
                buffer.copy_within(length..end, 0);
                self.count(&header, length);
                let held = end - length;
                return Ok(Some(OpenFrame {
                    header,
                    held,
                    done: 0,
                    share: Share::default(),
                    socket: self,
                    stream,
                    unread,
                    _turn: Turn::begin(),
                }));
            }
            unread.extend_from_slice(read);
        }
        let (header, header_length) = loop {
            if unread.len() >= 2 && (unread[1] & 0x80 != 0) != masked {
                unread.advance(2);
                return Err(FrameReadError::WrongMasking);
            }
            let step = parse_header(&unread).map_err(|error| {
                unread.advance(LONG_LENGTH_END);
                FrameReadError::Length(error)
            })?;
            match step {
                HeaderStep::Done { header, length } => {
                    unread.advance(length);
                    break (header, length);
                }
                HeaderStep::Need(total) => {
                    let wanted = missing_in_field(&unread, total) as u64;
                    let count = self.read_something(&stream, buffer, wanted)?;
                    unread.extend_from_slice(&buffer[..count]);
                }
            }
        };
        if header.payload_length > limit {
            self.refused.store(header.payload_length, Ordering::Relaxed);
            return Err(FrameReadError::TooLarge);
        }
        self.count(&header, header_length);
        Ok(Some(self.frame_of_unread(header, stream, unread, buffer)))
    }

    /// Reads what is left of a frame that was refused, and forgets it.
    fn pass_over_refused(
        &self,
        stream: &Duplex,
        unread: &mut BytesMut,
        buffer: &mut [u8; READ_AHEAD],
    ) -> Result<(), FrameReadError> {
        let mut refused = self.refused.load(Ordering::Relaxed);
        while refused > 0 {
            if unread.is_empty() {
                let count = self.read_something(stream, buffer, 2)?;
                unread.extend_from_slice(&buffer[..count]);
            }
            let passed = unread.len().min(usize::try_from(refused).unwrap_or(usize::MAX));
            unread.advance(passed);
            refused -= passed as u64;
            self.refused.store(refused, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The frame whose payload starts at the front of `unread`.
    fn frame_of_unread<'a>(
        &'a self,
        header: FrameHeader,
        stream: Arc<Duplex>,
        mut unread: MutexGuard<'a, BytesMut>,
        buffer: &mut [u8; READ_AHEAD],
    ) -> OpenFrame<'a> {
        let wanted = usize::try_from(header.payload_length).unwrap_or(usize::MAX);
        let held = wanted.min(unread.len()).min(buffer.len());
        buffer[..held].copy_from_slice(&unread[..held]);
        unread.advance(held);
        let share = Share::default();
        OpenFrame { header, held, done: 0, share, socket: self, stream, unread, _turn: Turn::begin() }
    }

    /// What [`begin_frame`](Self::begin_frame) gives, if a whole frame that nobody refuses is here already. Never
    /// waits, so it may be called attached to Python.
    pub fn buffered_frame(
        &self,
        masked: bool,
        limit: u64,
        buffer: &mut [u8; READ_AHEAD],
    ) -> Option<OpenFrame<'_>> {
        let mut unread = self.unread.try_lock()?;
        if self.refused.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let Ok(HeaderStep::Done { header, length }) = parse_header(&unread) else { return None };
        let size = usize::try_from(header.payload_length).ok()?;
        let fits = size <= buffer.len() && size <= unread.len() - length && header.payload_length <= limit;
        let may_be_ours = self.heartbeat.is_some() && may_be_pong(&header);
        if !fits || may_be_ours || header.mask.is_some() != masked {
            return None;
        }
        let stream = self.open().ok()?;
        unread.advance(length);
        self.count(&header, length);
        Some(self.frame_of_unread(header, stream, unread, buffer))
    }

    /// One frame, as [`begin_frame`](Self::begin_frame) reads it, for as long as it takes.
    pub fn read_frame(&self, masked: bool, limit: u64) -> Result<RawFrame, FrameReadError> {
        let mut buffer = [0; READ_AHEAD];
        loop {
            if let Some(frame) = self.begin_frame(masked, limit, &mut buffer)? {
                return frame.into_raw(&buffer, None);
            }
            self.rest()?;
        }
    }

    /// Counts a frame that begins to be read.
    fn count(&self, header: &FrameHeader, header_length: usize) {
        self.counters.received(header_length as u64 + header.payload_length);
        if header.opcode == opcode::CLOSE {
            self.heard_close.store(true, Ordering::Relaxed);
        }
        if header.fin && !opcode::is_control(header.opcode) {
            self.counters.message_given();
        }
    }

    /// Writes a frame as [`Self::write`] does; data frames with the FIN bit count as messages.
    pub fn write_frame(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.announce_write(head);
        self.write(head, body)?;
        self.count_written(head);
        Ok(())
    }

    /// Writes as much of `head` and `body` as goes out without waiting; may be called attached to Python. `None`: all of
    /// it did; otherwise [`Unwritten::finish`] writes the rest. When there is `more` to come, it may go out with that.
    pub fn write_now(
        self: &Arc<Self>,
        head: &[u8],
        body: &[u8],
        more: bool,
    ) -> io::Result<Option<Unwritten<'_>>> {
        let stream = self.open()?;
        let Some(turn) = self.writing.try_lock() else {
            return Ok(Some(Unwritten { socket: self, turn: None, written: 0 }));
        };
        let size = head.len() + body.len();
        let written = match stream.write_now(&[IoSlice::new(head), IoSlice::new(body)], more) {
            Ok(written) => written,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error),
        };
        if written < size {
            return Ok(Some(Unwritten { socket: self, turn: Some(turn), written }));
        }
        self.counters.sent(size as u64);
        self.set_corked(more);
        Ok(None)
    }

    /// Tells the heartbeat of a frame that is about to go out: a thread that asks the peer looks when nobody is writing.
    pub fn announce_write(&self, head: &[u8]) {
        if let Some(heartbeat) = &self.heartbeat
            && head.first().is_some_and(|first| first & 0x0f == opcode::CLOSE)
        {
            heartbeat.closing();
        }
    }

    /// Counts a frame that went out.
    pub fn count_written(&self, head: &[u8]) {
        if carries_data(head) && head[0] & 0x80 != 0 {
            self.counters.message_sent();
        }
    }

    /// Writes `head` and `body` as one piece: no other thread's bytes come between.
    pub fn write(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let _turn = self.writing.lock();
        self.write_from(0, head, body)
    }

    /// Writes what is behind the first `written` bytes. The caller has its turn to write.
    fn write_from(&self, written: usize, head: &[u8], body: &[u8]) -> io::Result<()> {
        let stream = self.open()?;
        let _waiting = self.counters.writing();
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut rest = &mut parts[..];
        IoSlice::advance_slices(&mut rest, written);
        while !rest.is_empty() {
            match stream.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut rest, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.counters.sent((head.len() + body.len()) as u64);
        self.corked.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Sends a close frame without waiting for the peer. `false`: another thread is writing; later it may work.
    pub fn send_close_now(&self, frame: &[u8]) -> bool {
        let Ok(stream) = self.open() else { return true };
        let Some(_turn) = self.writing.try_lock() else { return false };
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.closing();
        }
        stream.send_now(frame);
        true
    }

    /// Cuts the connection, both ways: threads that wait for it wake up. The descriptor stays until `close` is done.
    pub fn shut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        if let Link::Open(stream) | Link::Ending(stream) = &*self.link.read() {
            stream.shut();
        }
    }

    /// Whether the peer is in the middle of a frame that was refused: nothing that it answers can be found.
    pub fn is_within_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed) > 0
    }

    /// Ends the connection as pywebsocket's server does: no more sending, then the descriptor is closed (once
    /// the last call that uses it returns). Later calls fail with EBADF, never with another connection's
    /// descriptor. A peer that still sends is waited for, so that it gets all that was sent to it.
    pub fn close(&self) {
        let stream = {
            let mut link = self.link.write();
            let Link::Open(stream) = &*link else { return };
            let stream = Arc::clone(stream);
            *link = Link::Ending(Arc::clone(&stream));
            stream
        };
        linger::end(&stream, self.heard_close.load(Ordering::Relaxed), &self.is_cut);
        *self.link.write() = Link::Closed;
    }
}

/// Whether a frame that begins so is a data frame.
pub(crate) fn carries_data(head: &[u8]) -> bool {
    head.first().is_some_and(|first| !opcode::is_control(first & 0x0f))
}

fn read_retrying(stream: &Duplex, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) => wait_out(stream, error)?,
            read => return read,
        }
    }
}

/// Waits until a read may be done once more: it was interrupted, or it timed out, which is a matter of frames only.
/// Other errors come back.
fn wait_out(stream: &Duplex, error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock => stream.wait_readable(None).map(drop),
        _ => Err(error),
    }
}

/// `length` bytes: those that were read ahead, then straight from the socket. Their memory grows as they come.
fn read_bytes(stream: &Duplex, unread: &mut BytesMut, length: u64) -> Result<Vec<u8>, FrameReadError> {
    let ahead = unread.len().min(usize::try_from(length).unwrap_or(usize::MAX));
    let mut bytes = unread.split_to(ahead).to_vec();
    loop {
        let wanted = length - bytes.len() as u64;
        if wanted == 0 {
            return Ok(bytes);
        }
        let size = usize::try_from(wanted).unwrap_or(usize::MAX).min(bytes.len().max(RAW_READ));
        memory::reserve_exact(&mut bytes, size)?;
        match stream.read_whole(&mut bytes.spare_capacity_mut()[..size]) {
            Err(error) => wait_out(stream, error).map_err(|source| FrameReadError::Io { wanted, source })?,
            Ok(0) => return Err(FrameReadError::Eof { wanted }),
            // SAFETY: so many were written behind those that there are.
            Ok(count) => unsafe { bytes.set_len(bytes.len() + count) },
        }
    }
}
