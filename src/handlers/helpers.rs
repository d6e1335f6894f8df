//! The helper modules that handlers import: which of their files have changed.
//!
//! Must not import pyo3 or tokio.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::digest::{Digest, digest};
use super::resource::Stamp;
use crate::http::read_regular;

/// The clock that gives files their times ticks this slowly.
const TICK: Duration = Duration::from_millis(4);

/// What each helper file was like when it was last imported.
///
/// No file is forgotten, be it gone or used by nobody: Python may still have its module (a file that comes back while
/// handlers are loaded keeps it), and the next import must not get an old one.
#[derive(Default)]
pub(super) struct Helpers {
    known: BTreeMap<PathBuf, Seen>,
    /// When each was last found to have changed.
    changed: BTreeMap<PathBuf, SystemTime>,
}

#[derive(PartialEq, Eq)]
enum Seen {
    /// With these bytes; `None`: there was no file.
    As(Option<Digest>),
    /// It was written, or came to be there, while it was imported.
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
                self.changed.insert(path.clone(), SystemTime::now());
                changed.push(path.clone());
            }
        }
        changed
    }

    /// Whether one of `used` was found to have changed after `since`: a load of then may have the old one.
    pub(super) fn have_changed(&self, used: &[PathBuf], since: SystemTime) -> bool {
        used.iter().filter_map(|path| self.changed.get(path)).any(|&changed| changed >= since)
    }

    /// Takes note of files that were imported by loads that were decided on at `since`.
    pub(super) fn learn(&mut self, used: &[PathBuf], since: SystemTime) {
        let before = since.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(TICK);
        let before = i128::try_from(before.as_nanos()).unwrap_or(i128::MAX);
        for path in used {
            if !self.known.contains_key(path) {
                let digest = read(path);
                // Asked for after it was read. Not its modification time alone: a file that was written before and
                // renamed since keeps that.
                let touched = fs::metadata(path).map(|metadata| Stamp::of(&metadata).touched());
                let seen = match touched {
                    Ok(touched) if touched >= before => Seen::Unsure,
                    _ => Seen::As(digest),
                };
                self.known.insert(path.clone(), seen);
            }
        }
    }
}

fn read(path: &Path) -> Option<Digest> {
    read_regular(path).ok().map(|bytes| digest(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_gone_has_changed_when_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("helper.py");
        let mut helpers = Helpers::default();
        fs::write(&path, "old").unwrap();
        helpers.learn(std::slice::from_ref(&path), SystemTime::now() + Duration::from_secs(1));
        assert_eq!(helpers.take_changed(), [] as [PathBuf; 0]);
        fs::remove_file(&path).unwrap();
        assert_eq!(helpers.take_changed(), std::slice::from_ref(&path));
        assert_eq!(helpers.take_changed(), [] as [PathBuf; 0]);
        // What has no end is no file, either.
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(helpers.take_changed(), [] as [PathBuf; 0]);
        fs::remove_file(&path).unwrap();
        // Somebody may have imported it meanwhile.
        fs::write(&path, "old").unwrap();
        assert_eq!(helpers.take_changed(), [path]);
    }

    #[test]
    fn what_was_renamed_over_a_file_since_its_import_began_is_imported_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, draft) = (folder.path().join("helper.py"), folder.path().join("draft"));
        fs::write(&draft, "new").unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        fs::File::options().write(true).open(&draft).unwrap().set_modified(long_ago).unwrap();
        let since = SystemTime::now();
        fs::rename(&draft, &path).unwrap();
        let mut helpers = Helpers::default();
        helpers.learn(std::slice::from_ref(&path), since);
        assert_eq!(helpers.take_changed(), std::slice::from_ref(&path));
        assert_eq!(helpers.take_changed(), [] as [PathBuf; 0]);
    }
}
