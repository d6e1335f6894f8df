//! The handler threads that run now, and what tells of them in the log (`--thread-monitor-interval-in-sec`).

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::LogLevel;
use crate::logging;
use crate::per_process::PerProcess;
use parking_lot::Mutex;

/// pywebsocket's logger for this.
const LOGGER: &str = "pywebsocket3.server_util.ThreadMonitor";

/// Every handler thread, by its number.
pub(crate) static RUNNING: PerProcess<Mutex<BTreeMap<u64, Thread>>> =
    PerProcess::new(Mutex::new(BTreeMap::new()), || Mutex::new(BTreeMap::new()));

/// A handler thread.
pub(crate) struct Thread {
    /// Its name, with the resource.
    name: String,
    peer: SocketAddr,
    since: Instant,
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {} s)", self.name, self.peer, self.since.elapsed().as_secs())
    }
}

/// Counts a handler thread as running until it is dropped.
pub(crate) struct Running(u64);

impl Running {
    /// Thread `number`, called `name`, that serves `peer`.
    pub(crate) fn new(number: u64, name: String, peer: SocketAddr) -> Self {
        RUNNING.get().lock().insert(number, Thread { name, peer, since: Instant::now() });
        Self(number)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.get().lock().remove(&self.0);
    }
}

/// How many handler threads there are, and for each its name, resource, peer and age; pywebsocket's words.
fn report() -> String {
    let threads = RUNNING.get().lock();
    let list: Vec<String> = threads.values().map(ToString::to_string).collect();
    format!("{} active threads: {}", list.len(), list.join(", "))
}

/// Logs the handler threads now and every `interval`, to the end of the process.
///
/// It never waits for Python: a handler that does not let go of it is what people look for.
pub fn monitor(interval: Duration) -> io::Result<()> {
    let log = move || {
        loop {
            if logging::enabled(LogLevel::Info) {
                logging::emit(LogLevel::Info, LOGGER, &report());
            }
            thread::sleep(interval);
        }
    };
    thread::Builder::new().name("ThreadMonitor".to_owned()).spawn(log).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_each_thread_until_it_is_dropped() {
        let thread =
            |number, name: &str| Running::new(number, name.to_owned(), ([127, 0, 0, 1], 5000).into());
        let first = thread(1, "wsh-1 /echo");
        let second = thread(2, "wsh-2 /chat?x");
        let told = report();
        assert_eq!(
            told,
            "2 active threads: wsh-1 /echo (127.0.0.1:5000, 0 s), wsh-2 /chat?x (127.0.0.1:5000, 0 s)"
        );
        drop(first);
        assert!(report().starts_with("1 active threads: wsh-2 "));
        drop(second);
        assert_eq!(report(), "0 active threads: ");
    }
}
