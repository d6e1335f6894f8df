//! The connections that handlers have now: who they are, and how they are closed when the process ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Condvar;
use pyo3::intern;
use pyo3::prelude::*;

use super::detach::detached;
use super::locks::Lock;
use super::socket::Socket;
use crate::deadline;
use crate::handlers::traffic::{ConnectionStatus, Totals};
use crate::websocket::close::encode_body;
use crate::websocket::frame::{FrameHeader, opcode};

/// 1001: the server goes away (RFC 6455 section 7.4.1).
const GOING_AWAY: i64 = 1001;

/// How long handlers get to end once their sockets are shut.
const LAST_GRACE: Duration = Duration::from_millis(500);

/// How long a close frame may wait for a handler that is sending, and how often it is tried.
const SEND_GRACE: Duration = Duration::from_millis(500);
const SEND_PERIOD: Duration = Duration::from_millis(5);

static TABLE: Table = Table { entries: Lock::new(BTreeMap::new()), gone: Condvar::new() };

/// What went over connections that have ended. Locked only while the table is, so that nothing is counted twice.
static ENDED: Lock<Option<Totals>> = Lock::new(None);

/// The lock is held for moments only, and never while Python code runs.
struct Table {
    entries: Lock<BTreeMap<u64, Entry>>,
    /// Notified when an entry is removed.
    gone: Condvar,
}

struct Entry {
    resource: String,
    since: Instant,
    socket: Arc<Socket>,
    /// The request, once the opening handshake is done.
    request: Option<Py<PyAny>>,
}

/// Keeps a connection in the table. Dropping it, which must happen attached to Python, takes it out.
pub struct Registration(u64);

impl Registration {
    /// Puts a connection into the table.
    pub fn new(number: u64, resource: String, socket: Arc<Socket>) -> Self {
        let entry = Entry { resource, since: Instant::now(), socket, request: None };
        TABLE.entries.lock().insert(number, entry);
        Self(number)
    }

    /// The opening handshake is done: from here on the connection can be closed by a close frame.
    pub fn opened(&self, request: Py<PyAny>) {
        if let Some(entry) = TABLE.entries.lock().get_mut(&self.0) {
            entry.request = Some(request);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The entry is dropped behind the lock: with the request, Python code may run.
        let entry = {
            let mut entries = TABLE.entries.lock();
            let entry = entries.remove(&self.0);
            if let Some(entry) = &entry {
                let mut ended = ENDED.lock();
                *ended.get_or_insert_default() += &entry.socket.counters.totals();
            }
            entry
        };
        TABLE.gone.notify_all();
        drop(entry);
    }
}

/// The connections that handlers have now, by number.
pub fn list() -> Vec<ConnectionStatus> {
    let entries = TABLE.entries.lock();
    let open = entries.iter().map(|(&number, entry)| ConnectionStatus {
        number,
        resource: entry.resource.clone(),
        peer: entry.socket.peer,
        age: entry.since.elapsed(),
        state: entry.socket.counters.state(),
        totals: entry.socket.counters.totals(),
    });
    open.collect()
}

/// All that went over connections of handlers, ended ones included.
pub fn totals() -> Totals {
    let entries = TABLE.entries.lock();
    let mut totals = ENDED.lock().clone().unwrap_or_default();
    for entry in entries.values() {
        totals += &entry.socket.counters.totals();
    }
    totals
}

/// Ends all connections: close frames with 1001, `grace` for the closing handshakes, then the sockets are shut.
/// Returns how many handlers still run after that; they wait for something else than their peer.
///
/// Must be called detached from Python.
pub fn close_all(grace: Duration) -> usize {
    let unsent = Python::attach(about_to_close);
    say_goodbye(unsent, grace.min(SEND_GRACE));
    if wait_until_gone(grace) == 0 {
        return 0;
    }
    for entry in TABLE.entries.lock().values() {
        entry.socket.shut();
    }
    wait_until_gone(LAST_GRACE)
}

/// Ends all connections at once and returns how many handlers still run.
#[pyfunction]
#[must_use]
pub fn end_handlers(py: Python<'_>) -> usize {
    detached(py, || close_all(Duration::ZERO))
}

/// Takes the turn to close from the handlers that have not closed: the sockets that want a close frame. A
/// handler that waits for a message gets the peer's answer as the end of the connection.
fn about_to_close(py: Python<'_>) -> Vec<Arc<Socket>> {
    let open: Vec<_> = {
        let entries = TABLE.entries.lock();
        let opened = |entry: &Entry| Some((Arc::clone(&entry.socket), entry.request.as_ref()?.clone_ref(py)));
        entries.values().filter_map(opened).collect()
    };
    let name = intern!(py, "server_terminated");
    let closes_now = |request: &Py<PyAny>| -> PyResult<bool> {
        let is_closing = request.getattr(py, name)?.is_truthy(py)?;
        request.setattr(py, name, true)?;
        Ok(!is_closing)
    };
    let wanting = open.into_iter().filter(|(_, request)| closes_now(request).unwrap_or(false));
    wanting.map(|(socket, _)| socket).collect()
}

/// Sends close frames; where a handler is sending, behind what it sends, if that ends in `time`.
fn say_goodbye(mut unsent: Vec<Arc<Socket>>, time: Duration) {
    let frame = goodbye();
    let deadline = deadline::after(time);
    loop {
        unsent.retain(|socket| !socket.send_close_now(&frame));
        if unsent.is_empty() || Instant::now() >= deadline {
            return;
        }
        thread::sleep(SEND_PERIOD);
    }
}

/// A close frame with 1001.
fn goodbye() -> Vec<u8> {
    let body = encode_body(Some(GOING_AWAY), "").unwrap_or_default();
    let header = FrameHeader {
        fin: true,
        rsv1: false,
        rsv2: false,
        rsv3: false,
        opcode: opcode::CLOSE,
        mask: None,
        payload_length: body.len() as u64,
        minimal_length: true,
    };
    [&header.encode(), body.as_slice()].concat()
}

fn wait_until_gone(time: Duration) -> usize {
    let deadline = deadline::after(time);
    let mut entries = TABLE.entries.lock();
    while !entries.is_empty() {
        if TABLE.gone.wait_until(entries.guard(), deadline).timed_out() {
            break;
        }
    }
    entries.len()
}
