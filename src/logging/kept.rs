//! Records for a program around us that has a log of its own: they are kept until it takes them, on a thread that
//! may wait for its log.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::LogLevel;

/// How many records are kept; behind them the newest are lost, because nobody takes any.
const MAX_KEPT: usize = 10_000;

/// Those that were not taken yet; `None`: they are written instead.
static KEPT: Mutex<Option<VecDeque<KeptRecord>>> = Mutex::new(None);
/// Told of each.
static ARRIVED: Notify = Notify::const_new();

/// A record for the log of the program around us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// How severe it is.
    pub level: LogLevel,
    /// The logger's name.
    pub logger: String,
    /// Its text, fields included, in which nothing can begin a line that looks like another record.
    pub message: String,
}

/// From now on records are kept, or not.
pub(super) fn switch(is_on: bool) {
    let mut kept = KEPT.lock();
    if kept.is_some() != is_on {
        *kept = is_on.then(VecDeque::new);
    }
}

/// Whether records are kept.
#[must_use]
pub fn is_keeping() -> bool {
    KEPT.lock().is_some()
}

/// Keeps `record` if that is what is done with records.
pub(super) fn keep(record: impl FnOnce() -> KeptRecord) -> bool {
    let mut kept = KEPT.lock();
    let Some(records) = &mut *kept else { return false };
    if records.len() < MAX_KEPT {
        records.push_back(record());
        ARRIVED.notify_one();
    }
    true
}

/// The oldest record that was kept and not taken.
#[must_use]
pub fn take_kept() -> Option<KeptRecord> {
    KEPT.lock().as_mut()?.pop_front()
}

/// Waits until a record is kept.
pub async fn kept() {
    ARRIVED.notified().await;
}
