//! `--trace`: the bytes of each connection that a handler gets, in a file (docs/trace.md).
//!
//! A file that cannot be written any more ends the recording, never a connection. Must not import anything but
//! `error` and `logging`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::StartError;
use crate::logging::LOG_SERVER;

/// What requests carry in clear: credentials and cookies. So nobody else may read the file.
const MODE: u32 = 0o600;

/// So many bytes stand in one line at most: who reads the file need not take longer ones.
const PIECE: usize = 1 << 20;

/// A file that connections are recorded in.
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
    /// `None` once it could not be written.
    file: Mutex<Option<File>>,
    /// How many connections there were. Locked until the last one is written, so that the numbers stand in order.
    connections: Mutex<u64>,
    /// When the recording began, on both clocks: all times count from here, so that their order is that of events.
    begun: (Instant, OffsetDateTime),
}

impl Trace {
    /// Opens `path` to append to it, or makes it.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let file = OpenOptions::new().create(true).append(true).mode(MODE).open(path);
        let file =
            file.map_err(|source| StartError::File { option: "--trace", path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(Some(file)),
            connections: Mutex::new(0),
            begun: (Instant::now(), OffsetDateTime::now_utc()),
        })
    }

    /// Records that a connection begins. It ends when the value is dropped.
    #[must_use]
    pub fn connection(self: &Arc<Self>, opening: &Opening<'_>) -> ConnectionTrace {
        let mut connections = self.connections.lock();
        *connections += 1;
        let number = *connections;
        let start = Instant::now();
        let time = self.begun.1 + (start - self.begun.0);
        let time = time.format(&Rfc3339).unwrap_or_default();
        self.write(&json!({
            "connection": number,
            "event": "open",
            "time": time,
            "peer": opening.peer.to_string(),
            "local": format!("{}:{}", opening.local.0, opening.local.1),
            "tls": opening.tls,
            "resource": opening.resource,
        }));
        ConnectionTrace { trace: Arc::clone(self), number, start, ended: Mutex::new(None) }
    }

    fn write(&self, record: &Value) {
        let line = format!("{record}\n");
        let mut file = self.file.lock();
        let Some(open) = &mut *file else { return };
        if let Err(error) = open.write_all(line.as_bytes()) {
            *file = None;
            let path = self.path.display();
            tracing::error!(target: LOG_SERVER, "--trace {path}: {error}; nothing more is recorded");
        }
    }
}

/// What is known of a connection when its handler gets it.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The client's address.
    pub peer: SocketAddr,
    /// The server's name and port as configured.
    pub local: &'a (String, u16),
    /// Whether the client came over TLS.
    pub tls: bool,
    /// The resource, its query included.
    pub resource: &'a str,
}

/// The recording of one connection.
#[derive(Debug)]
pub struct ConnectionTrace {
    trace: Arc<Trace>,
    number: u64,
    start: Instant,
    /// How it ended; what comes first counts.
    ended: Mutex<Option<String>>,
}

impl ConnectionTrace {
    /// The client has sent these bytes, after TLS.
    pub fn received(&self, bytes: &[u8]) {
        self.bytes("in", Instant::now(), bytes);
    }

    /// The client was sent these bytes, before TLS. They may have been answered since `begun`, before which sending
    /// began: that is the time that keeps events in order.
    pub fn sent(&self, begun: Instant, bytes: &[u8]) {
        self.bytes("out", begun, bytes);
    }

    /// The client has closed its side.
    pub fn closed_by_client(&self) {
        if self.ends(|| "client".to_owned()) {
            self.trace.write(
                &json!({"connection": self.number, "event": "eof", "at": self.seconds(Instant::now())}),
            );
        }
    }

    /// We have closed ours.
    pub fn closed_by_server(&self) {
        self.ends(|| "server".to_owned());
    }

    /// The connection is lost.
    pub fn failed(&self, error: &io::Error) {
        // A read that timed out or was interrupted is tried again.
        if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            self.ends(|| error.to_string());
        }
    }

    /// `true`: it had not ended before.
    fn ends(&self, how: impl FnOnce() -> String) -> bool {
        let mut ended = self.ended.lock();
        let is_first = ended.is_none();
        ended.get_or_insert_with(how);
        is_first
    }

    fn bytes(&self, event: &str, at: Instant, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            let (kind, data) = match str::from_utf8(piece) {
                Ok(text) if text.bytes().all(is_plain) => ("text", text.to_owned()),
                _ => ("base64", BASE64_STANDARD.encode(piece)),
            };
            self.trace.write(&json!({
                "connection": self.number, "event": event, "at": self.seconds(at), kind: data,
            }));
        }
    }

    /// From the start to `time`, in seconds.
    fn seconds(&self, time: Instant) -> f64 {
        (time - self.start).as_secs_f64()
    }
}

impl Drop for ConnectionTrace {
    fn drop(&mut self) {
        let how = self.ended.get_mut().take();
        let how = how.unwrap_or_else(|| "server".to_owned());
        self.trace
            .write(&json!({"connection": self.number, "event": "end", "at": self.seconds(Instant::now()), "by": how}));
    }
}

/// What people can read, line ends included.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~')
}
