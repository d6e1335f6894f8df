//! `--trace`: the bytes of each connection that a handler gets, in a file (docs/trace.md).
//!
//! A file that cannot be written any more ends the recording, never a connection; one that is written slowly has gaps,
//! and says so. Nothing here is of one process only: the queue (`crate::writer`) knows when it is in a forked child.
//! Must not import anything but `error`, `logging` and `writer`.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::StartError;
use crate::logging::LOG_SERVER;
use crate::writer::{OwnFile, Queue, Sink, Target, write_all};

/// What requests carry in clear: credentials and cookies. So nobody else may read the file.
const MODE: u32 = 0o600;

/// So many bytes stand in one line at most: who reads the file need not take longer ones.
pub const PIECE: usize = 1 << 20;
/// How many bytes of records may wait to be written. Records carry payloads.
const LIMIT: usize = 32 * 1024 * 1024;

/// A file that connections are recorded in.
pub struct Trace {
    queue: Queue,
    /// Whether it could not be written.
    is_over: Arc<AtomicBool>,
    /// How many connections there were. Locked until the last one is queued, so that the numbers stand in order.
    connections: Mutex<u64>,
    /// When the recording began, on both clocks: all times count from here, so that their order is that of events.
    begun: (Instant, OffsetDateTime),
}

impl Trace {
    /// Opens `path` to append to it, or makes it.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        // Without waiting for somebody who reads a FIFO.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().create(true).append(true).mode(MODE).custom_flags(flags).open(path);
        let file = file.and_then(OwnFile::new);
        let file = Arc::new(file.map_err(|source| StartError::writing("--trace", path, source))?);
        let is_over = Arc::new(AtomicBool::new(false));
        let sink =
            TraceFile { path: path.to_owned(), file: Arc::clone(&file), is_over: Arc::clone(&is_over) };
        let queue = Queue::start("wshost-trace", LIMIT, Target::File(file), sink, gap);
        Ok(Self {
            queue: queue.map_err(StartError::Runtime)?,
            is_over,
            connections: Mutex::new(0),
            begun: (Instant::now(), OffsetDateTime::now_utc()),
        })
    }

    /// Records that a connection begins. It ends when the value is dropped.
    #[must_use]
    pub fn begin_connection(self: &Arc<Self>, opening: &Opening<'_>) -> ConnectionTrace {
        let mut connections = self.connections.lock();
        *connections += 1;
        let number = *connections;
        let start = Instant::now();
        let time = self.begun.1 + (start - self.begun.0);
        let time = time.format(&Rfc3339).unwrap_or_default();
        self.write(|| {
            json!({
                "connection": number,
                "event": "open",
                "time": time,
                "peer": opening.peer.to_string(),
                "local": format!("{}:{}", opening.local.0, opening.local.1),
                "tls": opening.tls,
                "resource": opening.resource,
            })
        });
        ConnectionTrace { trace: Arc::clone(self), number, start, ended: OnceLock::new() }
    }

    /// Never waits: for whom the disk is too slow, the trace has a gap.
    fn write(&self, record: impl FnOnce() -> Value) {
        if !self.is_over.load(Ordering::Relaxed) {
            self.queue.put(|| line(&record()));
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").finish_non_exhaustive()
    }
}

fn line(record: &Value) -> Vec<u8> {
    format!("{record}\n").into_bytes()
}

/// The record for records that were dropped.
fn gap(count: u64) -> Vec<u8> {
    tracing::warn!(target: LOG_SERVER, "--trace: {count} records were dropped: they were not written fast enough");
    line(&json!({"event": "dropped", "records": count}))
}

/// The file as its thread sees it.
struct TraceFile {
    path: PathBuf,
    file: Arc<OwnFile>,
    is_over: Arc<AtomicBool>,
}

impl Sink for TraceFile {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if self.is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let written = self.file.descriptor().and_then(|descriptor| write_all(descriptor, record));
        if let Err(error) = written {
            self.is_over.store(true, Ordering::Relaxed);
            let path = self.path.display();
            tracing::error!(target: LOG_SERVER, "--trace {path}: {error}; nothing more is recorded");
        }
        Ok(())
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
    ended: OnceLock<String>,
}

impl ConnectionTrace {
    /// The client has sent these bytes, after TLS.
    pub fn record_received(&self, bytes: &[u8]) {
        self.bytes("in", Instant::now(), bytes);
    }

    /// The client was sent these bytes, before TLS. They may have been answered since `begun`, before which sending
    /// began: that is the time that keeps events in order.
    pub fn record_sent(&self, begun: Instant, bytes: &[u8]) {
        self.bytes("out", begun, bytes);
    }

    /// The client has closed its side.
    pub fn record_client_end(&self) {
        if self.ends(|| "client".to_owned()) {
            let at = self.seconds(Instant::now());
            self.trace.write(|| json!({"connection": self.number, "event": "eof", "at": at}));
        }
    }

    /// We have closed ours.
    pub fn record_server_end(&self) {
        self.ends(|| "server".to_owned());
    }

    /// The connection is lost.
    pub fn record_failure(&self, error: &io::Error) {
        // A read that timed out or was interrupted is tried again.
        if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            self.ends(|| error.to_string());
        }
    }

    /// `true`: it had not ended before.
    fn ends(&self, how: impl FnOnce() -> String) -> bool {
        self.ended.get().is_none() && self.ended.set(how()).is_ok()
    }

    fn bytes(&self, event: &str, at: Instant, bytes: &[u8]) {
        let at = self.seconds(at);
        for piece in bytes.chunks(PIECE) {
            self.trace.write(|| {
                let (kind, data) = match str::from_utf8(piece) {
                    Ok(text) if text.bytes().all(is_plain) => ("text", text.to_owned()),
                    _ => ("base64", BASE64_STANDARD.encode(piece)),
                };
                json!({"connection": self.number, "event": event, "at": at, kind: data})
            });
        }
    }

    /// From the start to `time`, in seconds.
    fn seconds(&self, time: Instant) -> f64 {
        (time - self.start).as_secs_f64()
    }
}

impl Drop for ConnectionTrace {
    fn drop(&mut self) {
        let how = self.ended.take().unwrap_or_else(|| "server".to_owned());
        let at = self.seconds(Instant::now());
        self.trace.write(|| json!({"connection": self.number, "event": "end", "at": at, "by": how}));
    }
}

/// What people can read, line ends included.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~')
}
