//! The helper modules that handlers import: which of their files have changed.
//!
//! Must not import pyo3 or tokio.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::digest::{Digest, digest};
use super::resource::{Stamp, cannot_be_read, is_absent, is_shortage};
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
    /// Those that are something that must not be imported, and why.
    unusable: BTreeMap<PathBuf, String>,
}

/// What a look at the helper files found.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The files that are not what they were.
    pub(super) files: Vec<PathBuf>,
    /// Those that have become something that must not be imported, and why. What was imported stays.
    pub(super) unusable: Vec<(PathBuf, String)>,
    /// Whether some could not be read at this moment.
    pub(super) is_incomplete: bool,
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
    pub(super) fn take_changed(&mut self) -> Changes {
        let mut changes = Changes::default();
        for (path, seen) in &mut self.known {
            let digest = match read(path) {
                Ok(digest) => digest,
                Err(error) if is_shortage(&error) => {
                    changes.is_incomplete = true;
                    continue;
                }
                Err(error) => {
                    let reason = cannot_be_read(&error);
                    if self.unusable.insert(path.clone(), reason.clone()).as_ref() != Some(&reason) {
                        changes.unusable.push((path.clone(), reason));
                    }
                    continue;
                }
            };
            self.unusable.remove(path);
            let now = Seen::As(digest);
            if *seen != now {
                *seen = now;
                self.changed.insert(path.clone(), SystemTime::now());
                changes.files.push(path.clone());
            }
        }
        changes
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
                let digest = read(path).unwrap_or_default();
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

/// `None`: there is no file. An error for what Python must not open: a pipe would wait, a device may have no end.
fn read(path: &Path) -> io::Result<Option<Digest>> {
    match read_regular(path) {
        Ok(bytes) => Ok(Some(digest(&bytes))),
        // Nothing that could be imported.
        Err(error) if is_absent(&error) || error.raw_os_error().is_some() && !is_shortage(&error) => Ok(None),
        Err(error) => Err(error),
    }
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
        let nothing: [PathBuf; 0] = [];
        assert_eq!(helpers.take_changed().files, nothing);
        fs::remove_file(&path).unwrap();
        assert_eq!(helpers.take_changed().files, std::slice::from_ref(&path));
        assert_eq!(helpers.take_changed().files, nothing);
        // Somebody may have imported it meanwhile.
        fs::write(&path, "old").unwrap();
        assert_eq!(helpers.take_changed().files, [path]);
    }

    #[test]
    fn what_python_must_not_open_is_named_once_and_imported_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("helper.py");
        let mut helpers = Helpers::default();
        fs::write(&path, "old").unwrap();
        helpers.learn(std::slice::from_ref(&path), SystemTime::now() + Duration::from_secs(1));
        let pipe = |path: &Path| rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RWXU).unwrap();
        let device = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        let large = |path: &Path| fs::File::create(path).unwrap().set_len(1 << 30).unwrap();
        let table: [(fn(&Path), _); 3] =
            [(pipe, "not a regular file"), (device, "not a regular file"), (large, "larger than 64 MiB")];
        for (make, reason) in table {
            fs::remove_file(&path).unwrap();
            make(&path);
            for round in 0..2 {
                let Changes { files, unusable, .. } = helpers.take_changed();
                assert_eq!(files, [] as [PathBuf; 0], "{reason}");
                assert_eq!(
                    unusable.iter().any(|(_, said)| said.contains(reason)),
                    round == 0,
                    "{unusable:?}"
                );
            }
            fs::remove_file(&path).unwrap();
            fs::write(&path, reason.to_owned() + "x").unwrap();
            helpers.take_changed();
        }
        fs::write(&path, "new").unwrap();
        assert_eq!(helpers.take_changed().files, [path]);
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
        assert_eq!(helpers.take_changed().files, std::slice::from_ref(&path));
        assert_eq!(helpers.take_changed().files, [] as [PathBuf; 0]);
    }
}
