//! Says which handler file a start waits for, when it takes long.
//!
//! Must not import pyo3 or tokio.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Imports take milliseconds, large packages a second or two.
const TOLD_AFTER: Duration = Duration::from_secs(3);

/// Told of each file before it is loaded. Drop it when all are.
pub(super) struct SlowLoads(Arc<Progress>);

#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    /// Notified at the end only: a load must not cost a switch to another thread.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// What is loaded, and since when, unless that has been said.
    current: Option<(PathBuf, Instant)>,
    ended: bool,
}

impl SlowLoads {
    pub(super) fn new() -> Self {
        let progress = Arc::new(Progress::default());
        let watched = Arc::clone(&progress);
        let started = thread::Builder::new().name("wsh-slow".to_owned()).spawn(move || watched.watch());
        if let Err(error) = started {
            // The start does not need it.
            tracing::debug!(target: "wshost.handlers", "cannot watch for files that load slowly: {error}");
        }
        Self(progress)
    }

    /// From now on `path` is what is loaded.
    pub(super) fn begins(&self, path: &Path) {
        self.0.state.lock().current = Some((path.to_owned(), Instant::now()));
    }
}

impl Drop for SlowLoads {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.ended.notify_all();
    }
}

impl Progress {
    /// Warns once of each file that has no successor in time.
    fn watch(&self) {
        let mut state = self.state.lock();
        while !state.ended {
            let began = state.current.as_ref().map_or_else(Instant::now, |(_, began)| *began);
            if began.elapsed() < TOLD_AFTER {
                self.ended.wait_until(&mut state, began + TOLD_AFTER);
            } else if let Some((path, _)) = state.current.take() {
                tracing::warn!(
                    target: "wshost.handlers",
                    "{} takes long to load; nothing is served before it has",
                    path.display()
                );
            }
        }
    }
}
