//! One file at a time: what is known about it, and whether it has to be loaded again.
//!
//! [`registry`](super::registry) decides when; this decides what. Must not import pyo3 or tokio.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::digest::{Digest, digest};
use super::handler::Handler;
use super::loader::{LoadError, Loaded, Loader};
use super::resource::{
    Candidate, Content, Stamp, cannot_be_read, is_absent, is_short_of_descriptors, is_shortage,
};
use super::usage::Usage;
use crate::http::read_regular;

/// A file that was touched less than this before it was looked at may be written again without its times
/// moving: clocks of file systems tick in up to 2 s (FAT).
const CLOCK_TICK: Duration = Duration::from_secs(2);

/// What is known about a handler file.
#[derive(Debug)]
pub(super) struct FileState<S> {
    /// What it serves; `None`: its name makes no resource.
    pub(super) resource: Option<String>,
    /// What the path led to when it was last looked at.
    content: Content,
    /// Whether the file had been left alone for long enough that an equal stamp means equal bytes.
    settled: bool,
    /// Of the bytes that were tried last; `None`: none could be read.
    digest: Option<Digest>,
    /// The last good version.
    pub(super) handler: Option<Arc<Handler<S>>>,
    /// Why the file as it is now gives no suite.
    pub(super) error: Option<LoadError>,
    /// Where the path leads to, if it is a symbolic link.
    pub(super) links: Vec<PathBuf>,
    /// The helper modules that it was last loaded with, or failed to be.
    pub(super) depends_on: Vec<PathBuf>,
    /// Whether the system had nothing left to read files with.
    pub(super) is_to_be_tried_again: bool,
}

impl<S> Clone for FileState<S> {
    fn clone(&self) -> Self {
        Self {
            resource: self.resource.clone(),
            content: self.content.clone(),
            settled: self.settled,
            digest: self.digest,
            handler: self.handler.clone(),
            error: self.error.clone(),
            links: self.links.clone(),
            depends_on: self.depends_on.clone(),
            is_to_be_tried_again: self.is_to_be_tried_again,
        }
    }
}

impl<S> FileState<S> {
    /// Of the bytes that were tried last; `None`: none could be read.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.digest
    }
}

/// The outcome of [`examine`].
pub(super) enum Examined<S> {
    /// The file went away meanwhile.
    Gone,
    /// What is known now; no code has to run. The second: whether `error` is news.
    Known(FileState<S>, bool),
    /// It is new, has other bytes than before, or was told to be loaded.
    Load(Load<S>),
}

/// A file that is to be loaded.
pub(super) struct Load<S> {
    candidate: Candidate,
    settled: bool,
    /// The file's bytes.
    source: Vec<u8>,
    /// Of these bytes.
    pub(super) digest: Digest,
    last_good: Option<Arc<Handler<S>>>,
    /// When that was decided. Its thread may begin later: helpers that changed in between are not known to have
    /// been imported anew by then.
    pub(super) since: SystemTime,
}

/// Brings `known`, what is known about a file, up to date, as far as that needs no code of the file. `stale`: a
/// helper module of it has changed.
pub(super) fn examine<S>(candidate: Candidate, known: Option<&FileState<S>>, stale: bool) -> Examined<S> {
    let last_good = known.and_then(|known| known.handler.as_ref());
    let stamp = match &candidate.content {
        Content::File(stamp) => *stamp,
        Content::Unreadable(reason) => {
            let reason = reason.clone();
            return unloadable(candidate, known, last_good, reason);
        }
        Content::Nothing(reason) | Content::Away(reason) => {
            let reason = reason.clone();
            return unloadable(candidate, known, None, reason);
        }
    };
    let same_stamp = known.filter(|known| known.content == candidate.content && !stale);
    if let Some(known) = same_stamp.filter(|known| known.settled) {
        return Examined::Known(FileState { links: candidate.links, ..known.clone() }, false);
    }
    let settled = is_settled(&stamp);
    let source = match read_regular(&candidate.path) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) => return Examined::Gone,
        Err(error) => {
            let mut examined = unloadable(candidate, known, last_good, cannot_be_read(&error));
            if let Examined::Known(unread, _) = &mut examined {
                unread.is_to_be_tried_again = is_shortage(&error);
            }
            return examined;
        }
    };
    let digest = digest(&source);
    // A file that failed and was saved again as it was is tried again: what it needs may be there now.
    let same_bytes = known.filter(|known| {
        !stale && known.digest == Some(digest) && (known.error.is_none() || same_stamp.is_some())
    });
    if let Some(known) = same_bytes {
        let (content, links) = (candidate.content, candidate.links);
        return Examined::Known(FileState { content, settled, links, ..known.clone() }, false);
    }
    let (last_good, since) = (last_good.cloned(), SystemTime::now());
    Examined::Load(Load { candidate, settled, source, digest, last_good, since })
}

/// The state of a file that the loader was not asked for, with the handler that stays.
fn unloadable<S>(
    candidate: Candidate,
    known: Option<&FileState<S>>,
    stays: Option<&Arc<Handler<S>>>,
    message: String,
) -> Examined<S> {
    let before = known.and_then(|known| known.error.as_ref());
    let failed = before.is_none_or(|error| error.message != message);
    let error = LoadError { message, traceback: None };
    let depends_on = known.map(|known| known.depends_on.clone()).unwrap_or_default();
    let with_error = |handler: &Arc<Handler<S>>| {
        Arc::new(handler.with_error(Some(error.clone()), handler.depends_on.clone()))
    };
    let handler = if failed { stays.map(with_error) } else { stays.cloned() };
    let state = FileState {
        resource: candidate.resource,
        content: candidate.content,
        settled: false,
        digest: None,
        handler,
        error: Some(error),
        links: candidate.links,
        depends_on,
        is_to_be_tried_again: false,
    };
    Examined::Known(state, failed)
}

impl<S: Send + Sync + 'static> Load<S> {
    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.candidate.path
    }

    /// What it is to serve.
    pub(super) fn resource(&self) -> Option<&str> {
        self.candidate.resource.as_deref()
    }

    /// Loads the file. Takes as long as its code does.
    pub(super) fn run<L: Loader<Suite = S>>(self, loader: &L) -> FileState<S> {
        let Self { candidate, settled, source, digest, last_good, since: _ } = self;
        let Loaded { suite, depends_on } = loader.load(&candidate.path, &source);
        // What it imports may be there, and could not be opened.
        let is_to_be_tried_again = suite.is_err() && is_short_of_descriptors();
        let (handler, error) = match suite {
            Ok(suite) => {
                let handler = candidate.resource.clone().map(|resource| {
                    Arc::new(Handler {
                        resource,
                        path: candidate.path,
                        suite: Arc::new(suite),
                        version: last_good.as_ref().map_or(1, |old| old.version + 1),
                        loaded_at: SystemTime::now(),
                        digest,
                        error: None,
                        depends_on: depends_on.clone(),
                        usage: last_good.as_ref().map_or_else(Usage::default, |old| old.usage.next()),
                    })
                });
                (handler, None)
            }
            Err(error) => {
                let with_error =
                    |old: Arc<Handler<S>>| Arc::new(old.with_error(Some(error.clone()), depends_on.clone()));
                (last_good.map(with_error), Some(error))
            }
        };
        FileState {
            resource: candidate.resource,
            content: candidate.content,
            settled: settled && !is_to_be_tried_again,
            digest: (!is_to_be_tried_again).then_some(digest),
            handler,
            error,
            links: candidate.links,
            depends_on,
            is_to_be_tried_again,
        }
    }
}

/// Whether a change from now on is bound to give the file another stamp.
fn is_settled(stamp: &Stamp) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let quiet_before = now.saturating_sub(CLOCK_TICK).as_nanos();
    i128::try_from(quiet_before).is_ok_and(|limit| stamp.touched() < limit)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::resource::HandlerTree;
    use super::super::testing::{Place, StubLoader};
    use super::*;

    fn candidate(place: &Place) -> Candidate {
        HandlerTree::open(&place.config).unwrap().candidate(&place.path("a_wsh.py")).unwrap()
    }

    fn loaded<L: Loader<Suite = String>>(
        loader: &L,
        candidate: Candidate,
        known: Option<&FileState<String>>,
    ) -> FileState<String> {
        match examine(candidate, known, false) {
            Examined::Load(load) => load.run(loader),
            Examined::Known(state, _) => state,
            Examined::Gone => panic!("it is gone"),
        }
    }

    fn suite(state: &FileState<String>) -> &str {
        &state.handler.as_ref().unwrap().suite
    }

    #[test]
    fn a_stamp_says_nothing_about_a_file_that_was_just_written() {
        let place = Place::with(&[("a_wsh.py", "a1")]);
        let loader = StubLoader::default();
        let first = loaded(&loader, candidate(&place), None);
        let same_tick = Candidate { content: first.content.clone(), ..candidate(&place) };
        place.write("a_wsh.py", "a2");
        let second = loaded(&loader, same_tick, Some(&first));
        assert_eq!(suite(&second), "a2");
    }

    /// A loader whose files change while they load.
    struct Changing;

    impl Loader for Changing {
        type Suite = String;
        type Renewal = ();

        fn load(&self, path: &Path, source: &[u8]) -> Loaded<String> {
            fs::write(path, "after").unwrap();
            Loaded { suite: Ok(String::from_utf8_lossy(source).into_owned()), depends_on: Vec::new() }
        }

        fn renew(&self, _: &[PathBuf]) {}

        fn forget(&self, _: &Path) -> Box<dyn FnOnce() + Send> {
            Box::new(|| {})
        }
    }

    #[test]
    fn what_changed_under_the_loader_is_loaded_again() {
        let place = Place::with(&[("a_wsh.py", "before")]);
        let first = loaded(&Changing, candidate(&place), None);
        assert_eq!(suite(&first), "before");
        assert_eq!(first.handler.as_ref().unwrap().digest, digest(b"before"));
        let second = loaded(&StubLoader::default(), candidate(&place), Some(&first));
        assert_eq!(suite(&second), "after");
    }

    #[test]
    fn what_changed_under_the_loader_and_back_is_known() {
        let place = Place::with(&[("a_wsh.py", "before")]);
        let first = loaded(&Changing, candidate(&place), None);
        place.write("a_wsh.py", "before");
        assert!(matches!(examine(candidate(&place), Some(&first), false), Examined::Known(_, false)));
    }
}
