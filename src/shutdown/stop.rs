//! The thread that does what signals ask for.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libc::{SIGHUP, SIGINT, SIGTERM};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exit::{LAST_TIME, exit_at_once, exit_too_late, remember};
use super::signals::{self, Taken};
use crate::logging::LOG_SERVER;

/// The signals that ask for the end, and for a fresh look at files, until this is dropped.
///
/// SIGINT and SIGTERM cancel [`stop`](Self::stop). A second signal ends the process at once, with the exit code that
/// shells give to it: 130 or 143. A stop that is not over [`LAST_TIME`] after the grace ends the process with 0: this
/// must work when a handler has closed the runtime's descriptors, or when a thread never comes back from a system call.
///
/// A signal that is ignored already stays so.
pub struct Signals {
    stop: CancellationToken,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Takes the signals. `end` is called on the first SIGINT or SIGTERM, and `reload` on SIGHUP, one call at a time;
    /// each on a thread of its own that may wait. The threads are there from the start: a process that may have no
    /// more of them can still stop.
    pub fn take(
        grace: Duration,
        end: impl FnOnce() + Send + 'static,
        reload: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let (asked, asks) = sync_channel(1);
        let ends = move || {
            // An error: the server has ended by itself.
            if let Ok(number) = asks.recv() {
                tracing::info!(target: LOG_SERVER, "Stopping on signal {number}; once more ends the process at once");
                end();
            }
        };
        spawn("wshost-end", ends)?;
        // One that waits stands for all that come meanwhile.
        let (hangup, hangups) = sync_channel(1);
        let reloads = move || {
            while hangups.recv().is_ok() {
                tracing::info!(target: LOG_SERVER, "Reading handlers and certificates again on SIGHUP");
                reload();
            }
        };
        spawn("wshost-hangup", reloads)?;
        let (stop, is_over) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let (token, over) = (stop.clone(), Arc::clone(&is_over));
        let given_back = Taken::new()?;
        let work = move || {
            // When nobody looks at them any more.
            let _given_back = given_back;
            watch(grace, &token, &over, &asked, &hangup);
        };
        let thread = spawn("wshost-signals", work)?;
        Ok(Self { stop, is_over, thread: Some(thread) })
    }

    /// Cancelled when the server is to end.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        signals::wake();
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but this.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Does what signals ask for. It takes no lock and writes to no log: those may be held by one that never comes back.
fn watch(
    grace: Duration,
    stop: &CancellationToken,
    is_over: &AtomicBool,
    asked: &SyncSender<i32>,
    changed: &SyncSender<()>,
) {
    let mut deadline: Option<Option<Instant>> = None;
    loop {
        let seen = signals::changes();
        if is_over.load(Ordering::Acquire) {
            return;
        }
        for number in [SIGINT, SIGTERM] {
            if !signals::has_arrived(number) {
                continue;
            }
            if deadline.is_some() {
                exit_at_once(128 + number);
            }
            // `None`: beyond all times.
            let end = grace.checked_add(LAST_TIME).and_then(|time| Instant::now().checked_add(time));
            deadline = Some(end);
            remember(end);
            // Errors: it was told already.
            let _ = asked.try_send(number);
            cancel(stop);
        }
        if signals::has_arrived(SIGHUP) {
            let _ = changed.try_send(());
        }
        let left = deadline.flatten().map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            exit_too_late(0);
        }
        signals::wait(seen, left);
    }
}

/// Cancels `stop`. With a runtime whose descriptors somebody has closed, tokio panics where it would wake it; nobody
/// is there to be woken.
pub fn cancel(stop: &CancellationToken) {
    // The panic hook has reported it.
    let _ = catch_unwind(AssertUnwindSafe(|| stop.cancel()));
}

/// Waits until the tracked connections are done, but no longer than `grace`. Returns whether they all were.
pub async fn wait_for(connections: TaskTracker, grace: Duration) -> bool {
    connections.close();
    tokio::time::timeout(grace, connections.wait()).await.is_ok()
}
