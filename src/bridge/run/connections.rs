//! The connections that handlers have now: who they are, and how they are closed when the process ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Condvar;
use pyo3::prelude::*;

use crate::bridge::python::cached::intern;
use crate::bridge::python::detach::detached;
use crate::config::LINGER_AT_STOP;
use crate::deadline;
use crate::handlers::{ConnectionStatus, Totals};
use crate::locks::Lock;
use crate::per_process::{self, PerProcess};
use crate::websocket::close::encode_body;
use crate::websocket::frame::{FrameHeader, opcode};
use crate::wire::socket::Socket;

/// 1001: the server goes away (RFC 6455 section 7.4.1).
const GOING_AWAY: i64 = 1001;

/// 1011: the server met something that it did not expect.
const INTERNAL_ERROR: i64 = 1011;

/// How long handlers get to end once their sockets are shut.
const LAST_GRACE: Duration = Duration::from_millis(500);

/// How long a close frame may wait for a handler that is sending, and how often it is tried.
const SEND_GRACE: Duration = Duration::from_millis(500);
const SEND_PERIOD: Duration = Duration::from_millis(5);

/// That of a child is empty: the connections are its parent's, to use as a handler's child may, but not to close.
pub(crate) static TABLE: PerProcess<Table> = PerProcess::new(Table::new(), Table::new);

/// The locks are held for moments only, and never while Python code runs.
pub(crate) struct Table {
    open: Lock<Open>,
    /// What went over connections that have ended. Locked only while `open` is, so that nothing is counted twice.
    ended: Lock<Option<Totals>>,
    /// Notified when one is removed.
    gone: Condvar,
}

impl Table {
    const fn new() -> Self {
        Self { open: Lock::new(Open::new()), ended: Lock::new(None), gone: Condvar::new() }
    }
}

/// The connections, by number.
struct Open {
    /// Those that have a handler.
    entries: BTreeMap<u64, Entry>,
    /// Those whose handler has ended, and whose client still sends.
    ending: BTreeMap<u64, Arc<Socket>>,
}

impl Open {
    const fn new() -> Self {
        Self { entries: BTreeMap::new(), ending: BTreeMap::new() }
    }
}

struct Entry {
    resource: String,
    since: Instant,
    socket: Arc<Socket>,
    /// The request, once the opening handshake is done.
    request: Option<Py<PyAny>>,
}

/// Keeps a connection among those that have a handler. Dropping it, which must happen attached to Python, leaves it
/// among those that end, for [`Ending`].
pub struct Registration(u64);

impl Registration {
    /// Puts a connection into the table.
    pub fn new(number: u64, resource: String, socket: Arc<Socket>) -> Self {
        let entry = Entry { resource, since: Instant::now(), socket, request: None };
        TABLE.get().open.lock().entries.insert(number, entry);
        Self(number)
    }

    /// The opening handshake is done: from here on the connection can be closed by a close frame.
    pub fn opened(&self, request: Py<PyAny>) {
        if let Some(entry) = TABLE.get().open.lock().entries.get_mut(&self.0) {
            entry.request = Some(request);
        }
    }

    /// The client's last answer from a connection whose thread cannot go on: a close frame with 1011; an error page
    /// where the opening handshake has no answer yet. Does not wait for the client.
    pub fn apologize(&self, py: Python<'_>, page: impl FnOnce() -> Vec<u8>) {
        let (socket, request) = {
            let open = TABLE.get().open.lock();
            let Some(entry) = open.entries.get(&self.0) else { return };
            (Arc::clone(&entry.socket), entry.request.as_ref().map(|request| request.clone_ref(py)))
        };
        match request {
            Some(request) if takes_turn_to_close(py, &request).unwrap_or(false) => {
                socket.send_close_now(&close_frame(INTERNAL_ERROR));
            }
            None if socket.counters.totals().bytes_sent == 0 => {
                socket.send_close_now(&page());
            }
            _ => {}
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The entry is dropped behind the lock: with the request, Python code may run.
        let entry = {
            let mut open = TABLE.get().open.lock();
            let entry = open.entries.remove(&self.0);
            if let Some(entry) = &entry {
                open.ending.insert(self.0, Arc::clone(&entry.socket));
                let mut ended = TABLE.get().ended.lock();
                *ended.get_or_insert_default() += &entry.socket.counters.totals();
            }
            entry
        };
        TABLE.get().gone.notify_all();
        drop(entry);
    }
}

/// The end of connection `.0`, which its thread must see to whatever happens before.
pub struct Ending(pub u64);

impl Ending {
    /// Closes the socket, whose handler has ended. Waits for a client that still sends; must be called detached from
    /// Python.
    pub fn close(self, socket: &Socket) {
        socket.close();
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        TABLE.get().open.lock().ending.remove(&self.0);
        TABLE.get().gone.notify_all();
    }
}

/// The connections that handlers have now, by number.
pub fn list() -> Vec<ConnectionStatus> {
    let table = TABLE.get().open.lock();
    let open = table.entries.iter().map(|(&number, entry)| ConnectionStatus {
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
    let open = TABLE.get().open.lock();
    let mut totals = TABLE.get().ended.lock().clone().unwrap_or_default();
    for entry in open.entries.values() {
        totals += &entry.socket.counters.totals();
    }
    totals
}

/// Ends all connections: close frames with 1001, `grace` for the closing handshakes, then the sockets are shut.
/// Clients that still send when no handler is left get [`LINGER_AT_STOP`] of it.
/// Returns how many handlers still run after that; they wait for something else than their peer.
///
/// Must be called detached from Python.
pub fn close_all(grace: Duration) -> usize {
    let deadline = deadline::after(grace);
    let unsent = Python::attach(about_to_close);
    say_goodbye(unsent, grace.min(SEND_GRACE));
    wait_while(deadline, |open| !open.entries.is_empty());
    wait_while(deadline.min(Instant::now() + LINGER_AT_STOP), |open| {
        !(open.entries.is_empty() && open.ending.is_empty())
    });
    {
        let open = TABLE.get().open.lock();
        let sockets = open.entries.values().map(|entry| &entry.socket).chain(open.ending.values());
        sockets.for_each(|socket| socket.shut());
    }
    wait_while(Instant::now() + LAST_GRACE, |open| !open.entries.is_empty());
    TABLE.get().open.lock().entries.len()
}

/// Ends all connections at once. Those of a parent are not this process's to end, however it was forked.
#[pyfunction]
pub fn end_handlers(py: Python<'_>) {
    if per_process::is_set_up() {
        detached(py, || close_all(Duration::ZERO));
    }
}

/// Takes the turn to close from the handlers that have not closed: the sockets that want a close frame. A
/// handler that waits for a message gets the peer's answer as the end of the connection.
fn about_to_close(py: Python<'_>) -> Vec<Arc<Socket>> {
    let open: Vec<_> = {
        let table = TABLE.get().open.lock();
        let opened = |entry: &Entry| Some((Arc::clone(&entry.socket), entry.request.as_ref()?.clone_ref(py)));
        table.entries.values().filter_map(opened).collect()
    };
    let wanting = open.into_iter().filter(|(_, request)| takes_turn_to_close(py, request).unwrap_or(false));
    wanting.map(|(socket, _)| socket).collect()
}

/// Notes that we close; `false` if that was done before.
fn takes_turn_to_close(py: Python<'_>, request: &Py<PyAny>) -> PyResult<bool> {
    let name = intern!(py, "server_terminated");
    let is_closing = request.getattr(py, name)?.is_truthy(py)?;
    request.setattr(py, name, true)?;
    Ok(!is_closing)
}

/// Sends close frames; where a handler is sending, behind what it sends, if that ends in `time`.
fn say_goodbye(mut unsent: Vec<Arc<Socket>>, time: Duration) {
    let frame = close_frame(GOING_AWAY);
    let deadline = deadline::after(time);
    loop {
        unsent.retain(|socket| !socket.send_close_now(&frame));
        if unsent.is_empty() || Instant::now() >= deadline {
            return;
        }
        thread::sleep(SEND_PERIOD);
    }
}

/// A close frame.
fn close_frame(code: i64) -> Vec<u8> {
    let body = encode_body(Some(code), "").unwrap_or_default();
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

/// Waits as long as `more` says so, until `deadline` at most.
fn wait_while(deadline: Instant, more: impl Fn(&Open) -> bool) {
    let mut open = TABLE.get().open.lock();
    while more(&open) && !TABLE.get().gone.wait_until(open.guard(), deadline).timed_out() {}
}
