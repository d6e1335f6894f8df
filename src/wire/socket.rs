//! The socket of a handler: blocking reads and writes, called detached from Python. What never waits says so.
//!
//! - here: its state, its end
//! - `reading` – frames and raw bytes; `open_frame` – the payload of a frame; `received` – what reading gives
//! - `writing` – frames and raw bytes; `cork` – answers that go out together
//! - `linger` – the end of a connection whose peer still sends

pub(crate) mod cork;
mod linger;
mod open_frame;
mod reading;
mod received;
mod writing;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};

use crate::config::PingConfig;
use crate::handlers::Counters;
use crate::wire::heartbeat::Heartbeat;
use crate::wire::limits::Limits;
use crate::wire::transport::Duplex;

pub use open_frame::OpenFrame;
pub use received::{FrameReadError, RawFrame};
pub use writing::Unwritten;
pub(crate) use writing::carries_data;

/// How much is read at once when a frame header is wanted: the header and a small payload together. What is
/// read too much stays here, where `connection.read` finds it, too.
pub const READ_AHEAD: usize = 2048;

/// How long one read waits for bytes. From then on a text is looked at piece by piece as it comes, and a thread that
/// waits for a frame gives back memory ([`Socket::rest`]).
const READ_PATIENCE: Duration = Duration::from_millis(200);

/// A connection's socket. Reading and writing share no lock, so one thread may wait for a message while
/// another sends.
pub struct Socket {
    link: RwLock<Link>,
    /// Whether the peer has sent a close frame, after which it sends nothing more (RFC 6455 section 5.5.1).
    heard_close: AtomicBool,
    /// Whether nobody waits for the peer any more.
    is_cut: AtomicBool,
    unread: Mutex<BytesMut>,
    /// How many bytes of a frame that was refused are still to come; the next frame is after them. Changed with
    /// `unread` locked only.
    refused: AtomicU64,
    writing: Mutex<()>,
    /// Whether the system may keep back something that was sent.
    corked: AtomicBool,
    heartbeat: Option<Heartbeat>,
    /// The client's address.
    pub peer: SocketAddr,
    /// Those of its server.
    pub limits: Arc<Limits>,
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

impl Socket {
    /// Takes over a connection and what was already read from it; `ping` says when to ask whether the peer is there.
    pub fn new(
        stream: Duplex,
        unread: &Bytes,
        peer: SocketAddr,
        ping: Option<PingConfig>,
        limits: Arc<Limits>,
    ) -> Self {
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
            limits,
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

    /// Cuts the connection, both ways: threads that wait for it wake up. The descriptor stays until `close` is done.
    pub fn shut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        if let Link::Open(stream) | Link::Ending(stream) = &*self.link.read() {
            stream.shut();
        }
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
