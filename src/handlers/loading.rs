//! The loads that run without anybody waiting for them, because they take long.
//!
//! A file that is saved again meanwhile is loaded at once: what the earlier load gives in the end counts no more.
//! Must not import pyo3 or tokio.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::digest::Digest;
use super::file_state::Load;
use super::handler::Slow;
use crate::deadline;

/// When a load that runs on is named in the log. Imports take milliseconds, large packages a second or two.
const TOLD_AFTER: Duration = Duration::from_secs(3);

/// The loads that run on.
#[derive(Default)]
pub(super) struct Loading {
    /// Each by its number.
    running: BTreeMap<u64, Running>,
    /// Number of the last one.
    last: u64,
}

/// A load, as it was ordered.
#[derive(Debug, Clone)]
pub(super) struct Running {
    path: PathBuf,
    resource: Option<String>,
    /// Of the bytes that are loaded.
    digest: Digest,
    ordered: SystemTime,
    began: Instant,
    /// Whether its file has been loaded anew since, or is to stay as it is.
    is_abandoned: bool,
    is_told: bool,
}

impl Running {
    pub(super) fn of<S: Send + Sync + 'static>(load: &Load<S>) -> Self {
        Self {
            path: load.path().to_owned(),
            resource: load.resource().map(str::to_owned),
            digest: load.digest,
            ordered: load.since,
            began: Instant::now(),
            is_abandoned: false,
            is_told: false,
        }
    }
}

impl Loading {
    /// A number for the next load.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The load of this number runs on.
    pub(super) fn runs_on(&mut self, number: u64, running: Running) {
        self.running.insert(number, running);
    }

    /// The load of this number is done. Whether what it gives counts.
    pub(super) fn end(&mut self, number: u64) -> bool {
        self.running.remove(&number).is_none_or(|running| !running.is_abandoned)
    }

    /// Whether a load of `path` runs whose result counts.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.current(path).is_some()
    }

    /// Whether `load` is of other bytes than a load of the file that runs, if one does.
    pub(super) fn is_outdated_by<S: Send + Sync + 'static>(&self, load: &Load<S>) -> bool {
        self.current(load.path()).is_none_or(|running| running.digest != load.digest)
    }

    /// What loads of `path` give counts no more, unless they load the bytes with this `digest`.
    pub(super) fn abandon(&mut self, path: &Path, unless: Option<Digest>) {
        let outdated = self.running.values_mut().filter(|running| running.path == path);
        outdated
            .filter(|running| Some(running.digest) != unless)
            .for_each(|running| running.is_abandoned = true);
    }

    /// When each was ordered.
    pub(super) fn ordered(&self) -> impl Iterator<Item = SystemTime> {
        self.running.values().map(|running| running.ordered)
    }

    /// The files that have taken long.
    pub(super) fn slow(&self) -> BTreeMap<PathBuf, Slow> {
        let told = self.running.values().filter(|running| running.is_told);
        let slow = |running: &Running| Slow { resource: running.resource.clone(), since: running.ordered };
        told.map(|running| (running.path.clone(), slow(running))).collect()
    }

    /// Warns once of each that takes long. Gives when to ask again.
    pub(super) fn warn(&mut self) -> Option<Instant> {
        for running in self.running.values_mut().filter(|running| !running.is_told) {
            if running.began.elapsed() >= TOLD_AFTER {
                running.is_told = true;
                tracing::warn!(
                    target: "wshost.reload",
                    "{} has been loading for {} s and goes on; save it without what takes long, which is loaded at once",
                    running.path.display(),
                    TOLD_AFTER.as_secs()
                );
            }
        }
        let quiet = self.running.values().filter(|running| !running.is_told);
        quiet.map(|running| deadline::from(running.began, TOLD_AFTER)).min()
    }

    fn current(&self, path: &Path) -> Option<&Running> {
        self.running.values().find(|running| running.path == path && !running.is_abandoned)
    }
}
