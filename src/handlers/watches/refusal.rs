//! Why the system does not watch, and what to do. Must not import anything of the crate.

use std::io;
use std::path::Path;

use notify::ErrorKind;

/// Why the system does not watch.
#[derive(Debug)]
pub(in super::super) struct Refused {
    /// What the system said, and what to do where it is not plain.
    pub(in super::super) reason: String,
    /// Whether it may be otherwise in a moment.
    pub(in super::super) is_passing: bool,
}

impl Refused {
    /// `None`: not this place alone is meant.
    pub(super) fn of(error: &notify::Error) -> Option<Self> {
        let raw = match &error.kind {
            ErrorKind::MaxFilesWatch => Some(libc::ENOSPC),
            ErrorKind::Io(error) => error.raw_os_error(),
            _ => None,
        };
        let (reason, is_passing) = match raw? {
            libc::ENOSPC => {
                let limit = "the limit on watched directories is reached (raise fs.inotify.max_user_watches)";
                (limit.to_owned(), false)
            }
            code @ (libc::EMFILE | libc::ENFILE) => (
                format!(
                    "{}: the limit on open files or on inotify instances is reached \
                     (raise ulimit -n or fs.inotify.max_user_instances)",
                    io::Error::from_raw_os_error(code)
                ),
                true,
            ),
            code @ libc::ENOMEM => (io::Error::from_raw_os_error(code).to_string(), true),
            _ => return None,
        };
        Some(Self { reason, is_passing })
    }

    pub(super) fn from_any(error: &notify::Error) -> Self {
        Self::of(error).unwrap_or_else(|| Self { reason: error.to_string(), is_passing: true })
    }
}

/// Says that what is saved at `path` makes no event.
pub(super) fn report_unwatched(path: &Path, error: &notify::Error) {
    let path = path.display();
    let kind = match &error.kind {
        // It went meanwhile.
        ErrorKind::PathNotFound => return,
        ErrorKind::Io(error) => error.kind(),
        _ => io::ErrorKind::Other,
    };
    match kind {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {}
        io::ErrorKind::PermissionDenied => {
            tracing::debug!(target: "wshost.reload", "{path} is not watched: {error}");
        }
        _ => tracing::error!(
            target: "wshost.reload",
            "cannot watch {path} for changes: {error}; what is saved there is loaded late or not at all"
        ),
    }
}
