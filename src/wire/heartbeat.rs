//! Pings of the server's own, by which a peer that is gone without a word is found (`--ping-interval`).
//!
//! The thread that waits for a frame does it all. Must not import pyo3.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::PingConfig;
use crate::websocket::frame::{FrameHeader, opcode};

/// What our pings carry, and by what their pongs are known: nobody else sends it by chance.
pub(crate) static TOKEN: LazyLock<[u8; 8]> =
    LazyLock::new(|| RandomState::new().hash_one("ping").to_ne_bytes());

/// How one connection's peer is asked whether it is there.
pub struct Heartbeat {
    config: PingConfig,
    /// Whether a ping is out that nothing has come after.
    is_asked: AtomicBool,
    /// Whether our close frame goes out: nothing is sent after it.
    is_closing: AtomicBool,
}

impl Heartbeat {
    /// Pings as `config` says.
    pub fn new(config: PingConfig) -> Self {
        Self { config, is_asked: AtomicBool::new(false), is_closing: AtomicBool::new(false) }
    }

    /// How long the peer may be silent now.
    pub fn patience(&self) -> Duration {
        if self.is_asked.load(Ordering::Relaxed) { self.config.timeout } else { self.config.interval }
    }

    /// Our close frame goes out.
    pub fn closing(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Whether nothing may be sent any more.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Something came.
    pub fn heard(&self) {
        self.is_asked.store(false, Ordering::Relaxed);
    }

    /// Nothing came for as long as [`patience`](Self::patience) says: asks with `send`, which gives `false` when it
    /// cannot be done now, and `true` when it was done or must not be. The error: the peer said nothing before.
    pub fn silent(&self, send: impl FnOnce(&[u8]) -> io::Result<bool>) -> io::Result<()> {
        if self.is_asked.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        if send(&ping())? {
            self.is_asked.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether a frame may be the answer to our ping.
pub fn may_be_pong(header: &FrameHeader) -> bool {
    header.opcode == opcode::PONG && header.fin && header.payload_length == TOKEN.len() as u64
}

/// Whether a pong, unmasked, is the answer to our ping.
pub fn is_pong(body: &[u8]) -> bool {
    body == *TOKEN
}

fn ping() -> Vec<u8> {
    let header = FrameHeader {
        fin: true,
        rsv1: false,
        rsv2: false,
        rsv3: false,
        opcode: opcode::PING,
        mask: None,
        payload_length: TOKEN.len() as u64,
        minimal_length: true,
    };
    [&header.encode(), &TOKEN[..]].concat()
}
