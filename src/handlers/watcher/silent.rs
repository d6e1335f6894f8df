//! The places whose changes make no event, which are looked at from time to time.
//!
//! Must not import pyo3 or tokio.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::registry::Inputs;
use crate::platform::Mounts;

/// Says that files are looked at from time to time, and why.
pub(super) fn report_polling(reason: &str, poll: Duration) {
    tracing::warn!(
        target: "wshost.reload",
        "Handler files are looked at every {} s instead of watched: {reason}",
        poll.as_secs_f64()
    );
}

/// Places on file systems that do not tell of all changes.
#[derive(Default)]
pub(super) struct Silent {
    /// Folders and files, to be looked at.
    pub(super) places: BTreeSet<PathBuf>,
    /// The file systems that have been named in the log.
    told: BTreeSet<PathBuf>,
}

impl Silent {
    /// Asks the system where `scan` and `inputs` lie, and says once of each silent file system that it is polled.
    pub(super) fn find(&mut self, mounts: &Mounts, scan: &Path, inputs: &Inputs, poll: Duration) {
        let below = mounts.silent_below(scan);
        let single = inputs.files.iter().chain(&inputs.outside).map(PathBuf::as_path);
        let all: BTreeSet<&Path> =
            below.chain([scan]).chain(single).filter(|place| mounts.silent(place).is_some()).collect();
        for place in &all {
            let Some((point, kind)) = mounts.silent(place) else { continue };
            if self.told.insert(point.to_owned()) {
                let reason = format!("{} is on {kind}, which does not tell of all changes", point.display());
                report_polling(&reason, poll);
            }
        }
        self.places = all.into_iter().map(Path::to_owned).collect();
    }
}
