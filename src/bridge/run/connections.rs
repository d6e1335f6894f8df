//! The connections that handlers have now, each with its thread: who they are, and how they are closed when the process
//! ends.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
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
use crate::per_process::{self, Inherited, PerProcess};
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

/// Those of all servers of this process, for its end.
pub(crate) static SERVERS: PerProcess<Lock<Vec<Weak<Connections>>>> =
    PerProcess::new(Lock::new(Vec::new()), || Lock::new(Vec::new()));

/// The connections of one server. A child that is forked has none: they are its parent's, to use as a handler's child
/// may, but not to close.
pub struct Connections(Inherited<Table>);

/// The locks are held for moments only, and never while Python code runs.
#[derive(Default)]
struct Table {
    open: Lock<Open>,
    /// What went over connections that have ended. Locked only while `open` is, so that nothing is counted twice.
    ended: Lock<Totals>,
    /// Notified when one is removed.
    gone: Condvar,
}

/// The connections, by number.
#[derive(Default)]
struct Open {
    /// Those that have a handler.
    entries: BTreeMap<u64, Entry>,
    /// Those whose handler has ended, and whose client still sends.
    ending: BTreeMap<u64, Arc<Socket>>,
}

struct Entry {
    /// The thread's name.
    name: String,
    resource: String,
    since: Instant,
    socket: Arc<Socket>,
    /// The request, once the opening handshake is done.
    request: Option<Py<PyAny>>,
}

/// A handler's thread, as the log tells of it.
pub struct RunningThread {
    name: String,
    peer: SocketAddr,
    age: Duration,
}

impl fmt::Display for RunningThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {} s)", self.name, self.peer, self.age.as_secs())
    }
}

/// Keeps a connection among those that have a handler. Dropping it must happen attached to Python, once the opening
/// handshake is done.
pub struct Registration {
    server: Arc<Connections>,
    number: u64,
    /// Whether there is an [`Ending`].
    has_ending: bool,
}

impl Registration {
    /// For the thread of the connection. From when the registration is dropped the connection is among those that end.
    pub fn ending(&mut self) -> Ending {
        self.has_ending = true;
        Ending { server: Arc::clone(&self.server), number: self.number }
    }

    /// The opening handshake is done: from here on the connection can be closed by a close frame.
    pub fn opened(&self, request: Py<PyAny>) {
        if let Some(entry) = self.server.table().open.lock().entries.get_mut(&self.number) {
            entry.request = Some(request);
        }
    }

    /// The client's last answer from a connection whose thread cannot go on: a close frame with 1011; an error page
    /// where the opening handshake has no answer yet. Does not wait for the client.
    pub fn apologize(&self, py: Python<'_>, page: impl FnOnce() -> Vec<u8>) {
        let (socket, request) = {
            let open = self.server.table().open.lock();
            let Some(entry) = open.entries.get(&self.number) else { return };
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
        let table = self.server.table();
        // The entry is dropped after the lock: with the request, Python code may run.
        let entry = {
            let mut open = table.open.lock();
            let entry = open.entries.remove(&self.number);
            if let Some(entry) = &entry {
                if self.has_ending {
                    open.ending.insert(self.number, Arc::clone(&entry.socket));
                }
                *table.ended.lock() += &entry.socket.counters.totals();
            }
            entry
        };
        table.gone.notify_all();
        drop(entry);
    }
}

/// The end of a connection, which its thread must see to whatever happens before.
pub struct Ending {
    server: Arc<Connections>,
    number: u64,
}

impl Ending {
    /// Closes the socket, whose handler has ended. Waits for a client that still sends; must be called detached from
    /// Python.
    pub fn close(self, socket: &Socket) {
        socket.close();
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let table = self.server.table();
        table.open.lock().ending.remove(&self.number);
        table.gone.notify_all();
    }
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let server = Arc::new(Self(Inherited::new(Table::default)));
        let mut servers = SERVERS.get().lock();
        servers.retain(|server| server.strong_count() > 0);
        servers.push(Arc::downgrade(&server));
        drop(servers);
        server
    }

    fn table(&self) -> &Table {
        self.0.get()
    }

    /// Takes up a connection that a thread called `name` is to serve.
    pub fn add(
        self: &Arc<Self>,
        number: u64,
        name: String,
        resource: String,
        socket: Arc<Socket>,
    ) -> Registration {
        let entry = Entry { name, resource, since: Instant::now(), socket, request: None };
        self.table().open.lock().entries.insert(number, entry);
        Registration { server: Arc::clone(self), number, has_ending: false }
    }

    /// The connections that handlers have now, by number.
    #[must_use]
    pub fn list(&self) -> Vec<ConnectionStatus> {
        let table = self.table().open.lock();
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

    /// Their threads. Never waits for Python: a handler that does not let go of it is what people look for.
    #[must_use]
    pub fn threads(&self) -> Vec<RunningThread> {
        let table = self.table().open.lock();
        let running = table.entries.values().map(|entry| RunningThread {
            name: entry.name.clone(),
            peer: entry.socket.peer,
            age: entry.since.elapsed(),
        });
        running.collect()
    }

    /// All that went over connections of handlers, ended ones included.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let open = self.table().open.lock();
        let mut totals = self.table().ended.lock().clone();
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
    pub fn close_all(&self, grace: Duration) -> usize {
        close_all(&[self.table()], grace)
    }
}

fn close_all(tables: &[&Table], grace: Duration) -> usize {
    let deadline = deadline::after(grace);
    let unsent =
        Python::attach(|py| tables.iter().flat_map(|table| about_to_close(py, table)).collect::<Vec<_>>());
    say_goodbye(unsent, grace.min(SEND_GRACE));
    let wait_for_all = |deadline, more: fn(&Open) -> bool| {
        for table in tables {
            wait_while(table, deadline, more);
        }
    };
    wait_for_all(deadline, |open| !open.entries.is_empty());
    wait_for_all(deadline.min(Instant::now() + LINGER_AT_STOP), |open| {
        !(open.entries.is_empty() && open.ending.is_empty())
    });
    for table in tables {
        let open = table.open.lock();
        let sockets = open.entries.values().map(|entry| &entry.socket).chain(open.ending.values());
        sockets.for_each(|socket| socket.shut());
    }
    wait_for_all(Instant::now() + LAST_GRACE, |open| !open.entries.is_empty());
    tables.iter().map(|table| table.open.lock().entries.len()).sum()
}

/// Ends the connections of all servers at once. Those of a parent are not this process's to end, however it was forked.
#[pyfunction]
pub fn end_handlers(py: Python<'_>) {
    if per_process::is_set_up() {
        detached(py, || {
            let servers: Vec<_> = SERVERS.get().lock().iter().filter_map(Weak::upgrade).collect();
            let tables: Vec<_> = servers.iter().map(|server| server.table()).collect();
            close_all(&tables, Duration::ZERO);
        });
    }
}

/// Takes the turn to close from the handlers that have not closed: the sockets that want a close frame. A
/// handler that waits for a message gets the peer's answer as the end of the connection.
fn about_to_close(py: Python<'_>, table: &Table) -> Vec<Arc<Socket>> {
    let open: Vec<_> = {
        let table = table.open.lock();
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

/// Sends close frames; where a handler is sending, after what it sends, if that ends in `time`.
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
fn wait_while(table: &Table, deadline: Instant, more: impl Fn(&Open) -> bool) {
    let mut open = table.open.lock();
    while more(&open) && !table.gone.wait_until(open.guard(), deadline).timed_out() {}
}
