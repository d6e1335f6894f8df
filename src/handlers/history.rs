//! The last reloads, for the status page.
//!
//! Must not import pyo3 or tokio.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::LoadError;
use super::reload::ReloadReport;
use crate::per_process::PerProcess;
use parking_lot::Mutex;

/// How many are kept.
const LENGTH: usize = 100;

pub(super) static HISTORY: PerProcess<Mutex<VecDeque<Reload>>> =
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

/// Keeps what a reload did, if it did something.
pub(super) fn record(report: &ReloadReport) {
    if report.is_empty() {
        return;
    }
    let mut history = HISTORY.get().lock();
    if history.len() == LENGTH {
        history.pop_front();
    }
    history.push_back(Reload {
        at: SystemTime::now(),
        took: report.took,
        added: report.added.clone(),
        changed: report.changed.clone(),
        removed: report.removed.clone(),
        failed: report.failed.clone(),
    });
}

/// The last reloads of this process, the newest last.
#[must_use]
pub fn reloads() -> Vec<Reload> {
    HISTORY.get().lock().iter().cloned().collect()
}
