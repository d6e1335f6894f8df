//! The helper modules that handlers import: which of their files have changed.
//!
//! Must not import pyo3 or tokio.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::reload::digest;
use super::snapshot::Digest;

/// The clock that gives files their times ticks this slowly.
const TICK: Duration = Duration::from_millis(4);

/// What each helper file was like when it was last imported.
#[derive(Default)]
pub(super) struct Helpers {
    known: BTreeMap<PathBuf, Seen>,
}

#[derive(PartialEq, Eq)]
enum Seen {
    /// With these bytes; `None`: there was no file.
    As(Option<Digest>),
    /// It was written while it was imported.
    Unsure,
}

impl Helpers {
    /// The files that are not what they were, which from now on count as seen.
    pub(super) fn take_changed(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, seen) in &mut self.known {
            let now = Seen::As(read(path));
            if *seen != now {
                *seen = now;
                changed.push(path.clone());
            }
        }
        changed
    }

    /// Takes note of files that were imported by loads that began at `since`.
    pub(super) fn learn(&mut self, used: &[PathBuf], since: SystemTime) {
        for path in used {
            if !self.known.contains_key(path) {
                let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
                let unsure = modified.is_ok_and(|modified| modified + TICK >= since);
                let seen = if unsure { Seen::Unsure } else { Seen::As(read(path)) };
                self.known.insert(path.clone(), seen);
            }
        }
    }

    /// Forgets the files that are not there, but for those in `used`. One that is there and that nobody imports
    /// any more stays: Python still has the module, and the next import must not get an old one.
    pub(super) fn retain(&mut self, used: &BTreeSet<&Path>) {
        self.known.retain(|path, seen| *seen != Seen::As(None) || used.contains(path.as_path()));
    }
}

fn read(path: &Path) -> Option<Digest> {
    fs::read(path).ok().map(|bytes| digest(&bytes))
}
