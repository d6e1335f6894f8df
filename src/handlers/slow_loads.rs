//! Says which handler file a start waits for, when it takes long.
//!
//! Must not import pyo3 or tokio.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Imports take milliseconds, large packages a second or two.
const PATIENCE: Duration = Duration::from_secs(3);

/// Told of each file before it is loaded. Drop it when all are.
pub(super) struct SlowLoads(Sender<PathBuf>);

impl SlowLoads {
    pub(super) fn new() -> Self {
        let (begins, files) = channel();
        let started = thread::Builder::new().name("wsh-slow".to_owned()).spawn(move || watch(&files));
        if let Err(error) = started {
            // The start does not need it.
            tracing::debug!(target: "wshost.handlers", "cannot watch for files that load slowly: {error}");
        }
        Self(begins)
    }

    /// From now on `path` is what is loaded.
    pub(super) fn begins(&self, path: &Path) {
        // Nobody hears it when there was no thread to be had.
        let _ = self.0.send(path.to_owned());
    }
}

/// Warns once of each file that has no successor in time.
fn watch(files: &Receiver<PathBuf>) {
    let mut current = None;
    loop {
        match files.recv_timeout(PATIENCE) {
            Ok(path) => current = Some(path),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(path) = current.take() {
                    tracing::warn!(
                        target: "wshost.handlers",
                        "{} takes long to load; nothing is served before it has",
                        path.display()
                    );
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
