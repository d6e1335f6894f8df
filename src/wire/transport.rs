//! What a handler's bytes go over: a socket, or TLS on it. Blocking, always used detached from Python.
//!
//! Must not import pyo3.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustls::ServerConnection;
use socket2::{SockRef, Socket};

use crate::handover::Transport;
use crate::platform::{MORE_TO_COME, NO_SIGNAL, NO_WAIT};
use crate::trace::{ConnectionTrace, PIECE};

/// How much is read from the socket at once under TLS, in bytes: two records of nearly the largest size.
const WIRE_SIZE: usize = 32 * 1024;

/// A [`Transport`] that one thread may read from while another writes.
///
/// Reads must not overlap with reads, nor writes with writes, if their bytes are to stay together.
pub enum Duplex {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS on either.
    Tls(Box<Tls>),
    /// Any of these, recorded.
    Traced(Box<Traced>),
}

impl From<Transport> for Duplex {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp(socket) => Self::Tcp(socket),
            Transport::Unix(socket) => Self::Unix(socket),
            Transport::Tls(socket, session) => Self::Tls(Box::new(Tls {
                socket,
                session: Mutex::new(session),
                incoming: Mutex::new(Incoming::default()),
                outgoing: Mutex::new(Vec::new()),
            })),
        }
    }
}

impl Duplex {
    /// A transport, recorded if there is somewhere to.
    #[must_use]
    pub fn new(transport: Transport, trace: Option<ConnectionTrace>) -> Self {
        let inner = Self::from(transport);
        match trace {
            None => inner,
            Some(trace) => Self::Traced(Box::new(Traced { inner, trace })),
        }
    }

    /// One read; 0 at the end of the stream.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => (&*socket).read(buffer),
            Self::Unix(socket) => (&*socket).read(buffer),
            Self::Tls(tls) => (&**tls).read(buffer),
            Self::Traced(traced) => {
                let result = traced.inner.read(buffer);
                traced.read(&result, buffer, !buffer.is_empty());
                result
            }
        }
    }

    /// One read that waits until `buffer` is full, if the transport can: the kernel wakes the thread once. Fewer
    /// bytes are no error; 0 at the end of the stream.
    pub fn read_whole(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        self.read_with_flags(buffer, libc::MSG_WAITALL)
    }

    /// One read of what there is; 0 at the end of the stream.
    pub fn read_piece(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        self.read_with_flags(buffer, 0)
    }

    fn read_with_flags(&self, buffer: &mut [MaybeUninit<u8>], flags: i32) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => SockRef::from(socket).recv_with_flags(buffer, flags),
            Self::Unix(socket) => SockRef::from(socket).recv_with_flags(buffer, flags),
            Self::Tls(tls) => {
                // One read gives no more, and what is made ready for it must not cost more than it gives.
                let room = buffer.len().min(WIRE_SIZE);
                (&**tls).read(zeroed(&mut buffer[..room]))
            }
            Self::Traced(traced) => {
                let result = traced.inner.read_with_flags(buffer, flags);
                let count = *result.as_ref().unwrap_or(&0);
                // SAFETY: so many were written.
                let read = unsafe { &*(std::ptr::from_ref(&buffer[..count]) as *const [u8]) };
                traced.read(&result, read, !buffer.is_empty());
                result
            }
        }
    }

    /// Waits until a read gives something, be it the end of the stream or an error; `false` when `limit` is over before.
    pub fn wait_readable(&self, limit: Option<Duration>) -> io::Result<bool> {
        self.wait_for(PollFlags::IN, limit)
    }

    /// Waits until one of `events` is so, or the connection has failed; `false` when `limit` is over before.
    pub fn wait_for(&self, events: PollFlags, limit: Option<Duration>) -> io::Result<bool> {
        // Longer than the system takes: some days.
        let limit =
            limit.map(|limit| Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 1 << 20, tv_nsec: 0 }));
        match poll(&mut [PollFd::from_borrowed_fd(self.descriptor(), events)], limit.as_ref()) {
            Ok(count) => Ok(count > 0),
            // A read will find out.
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.socket.as_fd(),
            Self::Traced(traced) => traced.inner.descriptor(),
        }
    }

    /// Takes bytes from the wire that nobody wants any more, as they are there: still encrypted, and not recorded. Does
    /// not wait: `WouldBlock`; 0 at the end of the stream.
    pub fn discard(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let flags = NO_WAIT;
        match self {
            Self::Tcp(socket) => SockRef::from(socket).recv_with_flags(buffer, flags),
            Self::Unix(socket) => SockRef::from(socket).recv_with_flags(buffer, flags),
            Self::Tls(tls) => tls.socket.recv_with_flags(buffer, flags),
            Self::Traced(traced) => traced.inner.discard(buffer),
        }
    }

    /// How long a read waits before it is `WouldBlock`; `None`: for ever.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_read_timeout(timeout),
            Self::Unix(socket) => socket.set_read_timeout(timeout),
            Self::Tls(tls) => tls.socket.set_read_timeout(timeout),
            Self::Traced(traced) => traced.inner.set_read_timeout(timeout),
        }
    }

    /// One write of what is in `parts`: as much of it as went out.
    pub fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => (&*socket).write_vectored(parts),
            Self::Unix(socket) => (&*socket).write_vectored(parts),
            Self::Tls(tls) => tls.write_vectored(parts),
            Self::Traced(traced) => {
                let begun = Instant::now();
                let piece = first_piece(parts);
                let result = traced.inner.write_vectored(&[IoSlice::new(&piece)]);
                traced.wrote(begun, &result, &piece);
                result
            }
        }
    }

    /// One write that does not wait: `WouldBlock` where nothing can be written, or where writing is work. When there is
    /// `more` to come, the system may keep it back until then, or until [`Duplex::push`].
    pub fn write_now(&self, parts: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        let flags = NO_WAIT | NO_SIGNAL | if more { MORE_TO_COME } else { 0 };
        match self {
            Self::Tcp(socket) => SockRef::from(socket).send_vectored_with_flags(parts, flags),
            Self::Unix(socket) => SockRef::from(socket).send_vectored_with_flags(parts, flags),
            Self::Tls(_) | Self::Traced(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Sends `bytes`, or as much of them as goes out without waiting. A peer that is gone is no error.
    pub fn send_now(&self, bytes: &[u8]) {
        let _ = self.send_without_waiting(bytes);
    }

    /// Sends what the system keeps back.
    pub fn push(&self) {
        if let Self::Tcp(socket) = self {
            // It is on already: what counts is that setting it sends.
            let _ = socket.set_nodelay(true);
        }
    }

    /// How much of `bytes` went out without waiting; with TLS all of it is kept at least, and goes out before
    /// anything else.
    fn send_without_waiting(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = NO_WAIT | NO_SIGNAL;
        match self {
            Self::Tcp(socket) => SockRef::from(socket).send_with_flags(bytes, flags),
            Self::Unix(socket) => SockRef::from(socket).send_with_flags(bytes, flags),
            Self::Tls(tls) => tls.send_now(bytes).map(|()| bytes.len()),
            Self::Traced(traced) => {
                let begun = Instant::now();
                let result = traced.inner.send_without_waiting(bytes);
                traced.wrote(begun, &result, bytes);
                result
            }
        }
    }

    /// Sends all of `bytes` or nothing: `false` when nothing goes out without waiting.
    pub fn send_whole_now(&self, bytes: &[u8]) -> io::Result<bool> {
        match self.send_without_waiting(bytes) {
            Ok(count) => {
                let mut rest = &bytes[count..];
                while !rest.is_empty() {
                    rest = &rest[self.write_vectored(&[IoSlice::new(rest)])?..];
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// No more sending and receiving; wakes the threads that wait for either.
    pub fn shut(&self) {
        // A peer that is gone already is no error here.
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Self::Unix(socket) => socket.shutdown(Shutdown::Both),
            Self::Tls(tls) => tls.socket.shutdown(Shutdown::Both),
            Self::Traced(traced) => {
                traced.trace.record_server_end();
                traced.inner.shut();
                Ok(())
            }
        };
    }

    /// No more sending. Waits for nothing, and wakes a thread that waits to write. `false`: TLS has something to say
    /// first and the peer does not take it now; to be called again.
    #[must_use]
    pub fn close(&self) -> bool {
        // A peer that is gone already is no error here.
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
            Self::Tls(tls) => {
                if !tls.say_close() {
                    return false;
                }
                tls.socket.shutdown(Shutdown::Write)
            }
            Self::Traced(traced) => {
                if !traced.inner.close() {
                    return false;
                }
                traced.trace.record_server_end();
                Ok(())
            }
        };
        true
    }
}

/// A transport whose bytes are recorded.
pub struct Traced {
    inner: Duplex,
    trace: ConnectionTrace,
}

impl Traced {
    /// Records a read of what is at the front of `buffer`, where something was wanted or not.
    fn read(&self, result: &io::Result<usize>, buffer: &[u8], is_wanted: bool) {
        match result {
            Ok(0) if is_wanted => self.trace.record_client_end(),
            Ok(count) => self.trace.record_received(&buffer[..*count]),
            Err(error) => self.trace.record_failure(error),
        }
    }

    /// Records a write, begun at `begun`, of what is at the front of `bytes`.
    fn wrote(&self, begun: Instant, result: &io::Result<usize>, bytes: &[u8]) {
        match result {
            Ok(count) => self.trace.record_sent(begun, &bytes[..*count]),
            Err(error) => self.trace.record_failure(error),
        }
    }
}

/// Memory with zeros in it.
pub fn zeroed(memory: &mut [MaybeUninit<u8>]) -> &mut [u8] {
    for byte in &mut *memory {
        byte.write(0);
    }
    // SAFETY: every byte was written; the two types have one layout.
    unsafe { &mut *(std::ptr::from_mut(memory) as *mut [u8]) }
}

/// The beginning of what is in `parts`: as much of it as a record takes.
fn first_piece(parts: &[IoSlice<'_>]) -> Vec<u8> {
    let mut piece = Vec::with_capacity(PIECE.min(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        piece.extend_from_slice(&part[..part.len().min(PIECE - piece.len())]);
    }
    piece
}

/// TLS on a socket.
///
/// Lock order: `incoming` or `outgoing`, then `session`. Only the first two are held while the socket is waited
/// for; `session` is held for as long as it takes to encrypt or decrypt what is in memory.
pub struct Tls {
    socket: Socket,
    session: Mutex<Box<ServerConnection>>,
    incoming: Mutex<Incoming>,
    /// Encrypted bytes that must go out before any others. Whoever holds the lock may write to the socket, so that
    /// records go out in the order in which they were encrypted.
    outgoing: Mutex<Vec<u8>>,
}

/// Bytes from the socket that the session has not taken yet: `buffer[start..end]`.
#[derive(Default)]
struct Incoming {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Tls {
    /// Gives the session what was received until it has something for `buffer`. `None`: more is needed.
    fn decrypt(&self, incoming: &mut Incoming, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut session = self.session.lock();
        let failure = loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result.map(Some),
            }
            if incoming.start == incoming.end {
                break None;
            }
            let mut rest = &incoming.buffer[incoming.start..incoming.end];
            incoming.start += session.read_tls(&mut rest)?;
            if let Err(error) = session.process_new_packets() {
                break Some(error);
            }
        };
        let has_answer = session.wants_write();
        drop(session);
        if has_answer {
            self.send_pending();
        }
        failure.map_or(Ok(None), |error| Err(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut outgoing = self.outgoing.lock();
        let count = {
            let mut session = self.session.lock();
            let count = session.writer().write_vectored(parts)?;
            // The answer to a key update is in it, too: rustls holds that back until there is data to send.
            drain(&mut session, &mut outgoing)?;
            count
        };
        let sent = send_all(&self.socket, &outgoing);
        outgoing.clear();
        sent.map(|()| count)
    }

    /// Sends what the session has to say by itself, an alert (RFC 8446 section 6). Not if that would have to wait:
    /// for a peer that does not read, or for another thread's turn to write; then it goes out with the next data.
    /// Whether the peer has to read first.
    fn send_pending(&self) -> bool {
        let Some(mut outgoing) = self.outgoing.try_lock() else { return false };
        if drain(&mut self.session.lock(), &mut outgoing).is_err() || outgoing.is_empty() {
            return false;
        }
        match self.socket.send_with_flags(&outgoing, NO_WAIT | NO_SIGNAL) {
            Ok(sent) => drop(outgoing.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A peer that is gone shows up at the next read.
            Err(_) => return false,
        }
        !outgoing.is_empty()
    }

    fn send_now(&self, bytes: &[u8]) -> io::Result<()> {
        self.session.lock().writer().write_all(bytes)?;
        self.send_pending();
        Ok(())
    }

    /// Says that no more data comes; `false` when that is not out yet.
    fn say_close(&self) -> bool {
        self.session.lock().send_close_notify();
        !self.send_pending()
    }
}

impl Read for &Tls {
    /// pywebsocket: the end of the connection is the end of the stream even if the peer did not announce it by a
    /// `close_notify` (Python's `suppress_ragged_eofs`). WebSocket's closing handshake tells the two apart.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut incoming = self.incoming.lock();
        let incoming = &mut *incoming;
        loop {
            if let Some(count) = self.decrypt(incoming, buffer)? {
                return Ok(count);
            }
            incoming.buffer.resize(WIRE_SIZE, 0);
            (incoming.start, incoming.end) = (0, 0);
            incoming.end = (&self.socket).read(&mut incoming.buffer)?;
            if incoming.end == 0 {
                return Ok(0);
            }
        }
    }
}

/// Sends all of `bytes`, without SIGPIPE for the process when the peer is gone.
fn send_all(socket: &Socket, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.send_with_flags(bytes, NO_SIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Appends what `session` has for the wire to `outgoing`.
fn drain(session: &mut ServerConnection, outgoing: &mut Vec<u8>) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(outgoing)?;
    }
    Ok(())
}
