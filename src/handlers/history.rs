//! The last reloads, for the status page.
//!
//! Must not import pyo3 or tokio.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::loader::LoadError;
use crate::per_process::PerProcess;

/// How many are kept.
const LENGTH: usize = 100;

static HISTORY: PerProcess<Mutex<VecDeque<Reload>>> =
    PerProcess::new(Mutex::new(VecDeque::new()), || Mutex::new(VecDeque::new()));

/// What one reload did.
#[derive(Debug, Clone)]
pub struct Reload {
    /// When it was done.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Resources that have a handler now and had none.
    pub added: Vec<String>,
    /// Resources that another version serves now.
    pub changed: Vec<String>,
    /// Resources that have no handler any more.
    pub removed: Vec<String>,
    /// Files that could not be loaded.
    pub failed: Vec<(PathBuf, LoadError)>,
}

/// Keeps what a reload did.
pub(super) fn keep(reload: Reload) {
    let mut history = HISTORY.get().lock();
    if history.len() == LENGTH {
        history.pop_front();
    }
    history.push_back(reload);
}

/// The last reloads of this process, the newest last.
#[must_use]
pub fn reloads() -> Vec<Reload> {
    HISTORY.get().lock().iter().cloned().collect()
}

/// Gives this process, a forked child, a history of its own.
pub(super) fn renew_after_fork() {
    HISTORY.renew();
}
