//! One file at a time: what is known about it, whether it has to be loaded again, and the report of it all.
//!
//! [`registry`](super::registry) decides when; this decides what. Must not import pyo3 or tokio.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::map_file::MapProblem;
use super::resource::{Candidate, Content, Stamp, cannot_be_read, is_absent};
use super::snapshot::{Digest, Handler, Snapshot, log_map_problems};
use super::usage::Usage;
use super::{LoadError, Loaded, Loader};
use crate::http::read_regular;

/// A file that was touched less than this before it was looked at may be written again without its times
/// moving: clocks of file systems tick in up to 2 s (FAT).
const CLOCK_TICK: Duration = Duration::from_secs(2);

/// What a reload did.
#[derive(Debug, Default)]
pub struct ReloadReport {
    /// Resources, aliases included, that have a handler now and had none.
    pub added: Vec<String>,
    /// Resources, aliases included, that another suite serves now.
    pub changed: Vec<String>,
    /// Resources, aliases included, that have no handler any more.
    pub removed: Vec<String>,
    /// Files that could not be loaded, each once for a content. Their last good version, if any, stays.
    pub failed: Vec<(PathBuf, LoadError)>,
    /// What is wrong in the alias file and was not before.
    pub map_problems: Vec<MapProblem>,
    /// Open connections of what was replaced or removed: they stay on the version that they have.
    pub left_behind: usize,
    /// How long it took.
    pub took: Duration,
}

impl ReloadReport {
    /// Whether nothing changed and nothing failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.served_the_same() && self.failed.is_empty() && self.map_problems.is_empty()
    }

    fn served_the_same(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// Fills in the differences between two snapshots.
    pub(super) fn compare<S>(&mut self, old: &Snapshot<S>, new: &Snapshot<S>) {
        let mut replaced: Vec<&Arc<Handler<S>>> = Vec::new();
        for (resource, handler) in &new.handlers {
            match old.handlers.get(resource) {
                None => self.added.push(resource.clone()),
                Some(before) if !Arc::ptr_eq(&before.suite, &handler.suite) => {
                    self.changed.push(resource.clone());
                    replaced.push(before);
                }
                Some(_) => {}
            }
        }
        for (resource, before) in &old.handlers {
            if !new.handlers.contains_key(resource) {
                self.removed.push(resource.clone());
                replaced.push(before);
            }
        }
        // A handler with aliases counts once.
        replaced.sort_by_key(|handler| Arc::as_ptr(handler));
        replaced.dedup_by_key(|handler| Arc::as_ptr(handler));
        self.left_behind = replaced.iter().map(|old| old.usage.current() + old.usage.earlier()).sum();
        let fresh = new.map_problems.iter().filter(|problem| !old.map_problems.contains(problem));
        self.map_problems.extend(fresh.cloned());
    }

    /// Logs the reload and keeps it in the [history](super::history): one INFO line for what changed, one ERROR with the traceback for each file that failed.
    /// `snapshot` is the one that it made.
    pub fn log<S>(&self, snapshot: &Snapshot<S>) {
        super::history::record(self);
        for (path, error) in &self.failed {
            let then = match snapshot.by_path(path) {
                Some(handler) => format!("{} is still served by its last good version", handler.resource),
                None => "nothing is served from it".to_owned(),
            };
            let error = LoadError { message: format!("{} ({then})", error.message), ..error.clone() };
            tracing::error!(target: "wshost.reload", "{}", describe(path, &error));
        }
        log_map_problems(&self.map_problems);
        if !self.served_the_same() {
            tracing::info!(target: "wshost.reload", "{}", self.summary());
        }
    }

    fn summary(&self) -> String {
        let mut text = format!("Reloaded in {} ms", self.took.as_millis());
        let parts = [("changed", &self.changed), ("added", &self.added), ("removed", &self.removed)];
        let parts = parts.into_iter().filter(|(_, resources)| !resources.is_empty());
        for (i, (what, resources)) in parts.enumerate() {
            let separator = if i == 0 { ':' } else { ';' };
            // Writing to a string cannot fail.
            let _ = write!(text, "{separator} {what} {}", resources.join(", "));
        }
        if self.left_behind > 0 {
            let s = if self.left_behind == 1 { "" } else { "s" };
            let _ = write!(text, " ({} open connection{s} on old versions)", self.left_behind);
        }
        text
    }
}

/// `PATH: reason`, and the traceback behind it.
pub(super) fn describe(path: &Path, error: &LoadError) -> String {
    match &error.traceback {
        Some(traceback) => format!("{}: {}\n{}", path.display(), error.message, traceback.trim_end()),
        None => format!("{}: {}", path.display(), error.message),
    }
}

/// SHA-256 of `bytes`.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// What is known about a handler file.
#[derive(Debug)]
pub(super) struct FileState<S> {
    /// What it serves; `None`: its name makes no resource.
    pub(super) resource: Option<String>,
    /// What stood behind the path when it was last looked at.
    content: Content,
    /// Whether the file had been left alone for long enough that an equal stamp means equal bytes.
    settled: bool,
    /// Of the bytes that were tried last; `None`: none could be, or they changed meanwhile.
    digest: Option<Digest>,
    /// The last good version.
    pub(super) handler: Option<Arc<Handler<S>>>,
    /// Why the file as it is now gives no suite.
    pub(super) error: Option<LoadError>,
    /// Where the path leads to, if it is a symbolic link.
    pub(super) links: Vec<PathBuf>,
    /// The helper modules that it was last loaded with, or failed to be.
    pub(super) depends_on: Vec<PathBuf>,
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
        }
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
    digest: Digest,
    last_good: Option<Arc<Handler<S>>>,
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
        Content::Nothing(reason) => {
            let reason = reason.clone();
            return unloadable(candidate, known, None, reason);
        }
    };
    let same_stamp = known.filter(|known| known.content == candidate.content && !stale);
    if let Some(known) = same_stamp.filter(|known| known.settled) {
        return Examined::Known(FileState { links: candidate.links, ..known.clone() }, false);
    }
    let settled = is_settled(&stamp);
    let digest = match read_regular(&candidate.path) {
        Ok(bytes) => digest(&bytes),
        Err(error) if is_absent(&error) => return Examined::Gone,
        Err(error) => return unloadable(candidate, known, last_good, cannot_be_read(&error)),
    };
    // A file that failed and was saved again as it was is tried again: what it needs may be there now.
    let same_bytes = known.filter(|known| {
        !stale && known.digest == Some(digest) && (known.error.is_none() || same_stamp.is_some())
    });
    if let Some(known) = same_bytes {
        let (content, links) = (candidate.content, candidate.links);
        return Examined::Known(FileState { content, settled, links, ..known.clone() }, false);
    }
    Examined::Load(Load { candidate, settled, digest, last_good: last_good.cloned() })
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
    };
    Examined::Known(state, failed)
}

impl<S: Send + Sync + 'static> Load<S> {
    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.candidate.path
    }

    /// Loads the file. Takes as long as its code does.
    pub(super) fn run<L: Loader<Suite = S>>(self, loader: &L) -> FileState<S> {
        let Self { candidate, settled, digest: before, last_good } = self;
        let Loaded { suite, depends_on } = loader.load(&candidate.path);
        // The loader read the file on its own. If it changed since we did, which bytes the suite is made of is
        // unknown, and the next look at the file loads it again.
        let unchanged = read_regular(&candidate.path).is_ok_and(|bytes| digest(&bytes) == before);
        let (handler, error) = match suite {
            Ok(suite) => {
                let handler = candidate.resource.clone().map(|resource| {
                    Arc::new(Handler {
                        resource,
                        path: candidate.path,
                        suite: Arc::new(suite),
                        version: last_good.as_ref().map_or(1, |old| old.version + 1),
                        loaded_at: SystemTime::now(),
                        digest: before,
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
            settled: settled && unchanged,
            digest: unchanged.then_some(before),
            handler,
            error,
            links: candidate.links,
            depends_on,
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
    use std::io;
    use std::sync::Mutex;

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

    /// A loader to which the file looks other than to everybody else.
    struct Elsewhere;

    impl Loader for Elsewhere {
        type Suite = String;
        type Renewal = ();

        fn load(&self, path: &Path) -> Loaded<String> {
            let before = fs::read_to_string(path).unwrap();
            fs::write(path, "passing").unwrap();
            let suite = fs::read_to_string(path).unwrap();
            fs::write(path, before + "!").unwrap();
            Loaded { suite: Ok(suite), depends_on: Vec::new() }
        }

        fn renew(&self, _: &[PathBuf]) {}

        fn forget(&self, _: &Path) {}
    }

    #[test]
    fn what_changed_under_the_loader_is_loaded_again() {
        let place = Place::with(&[("a_wsh.py", "a")]);
        let first = loaded(&Elsewhere, candidate(&place), None);
        assert_eq!(suite(&first), "passing");
        // Back to the bytes that were there when the load began.
        place.write("a_wsh.py", "a");
        let second = loaded(&StubLoader::default(), candidate(&place), Some(&first));
        assert_eq!(suite(&second), "a");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reload_is_one_line_and_a_failure_shows_its_traceback() {
        let place = Place::with(&[("a_wsh.py", "a1"), ("b_wsh.py", "b1"), ("c_wsh.py", "c1")]);
        let registry = place.open();
        place.write("a_wsh.py", "a2");
        place.write("b_wsh.py", "FAIL b2");
        place.write("d_wsh.py", "FAIL d1");
        place.write("e_wsh.py", "e1");
        fs::remove_file(place.path("c_wsh.py")).unwrap();
        let report = ReloadReport { took: Duration::from_millis(7), ..registry.refresh() };
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .without_time()
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            report.log(&registry.snapshot());
            registry.refresh().log(&registry.snapshot());
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let expected = format!(
            "ERROR wshost.reload: {b}: FAIL b2 (/b is still served by its last good version)\nTraceback: line 1\n\
             ERROR wshost.reload: {d}: FAIL d1 (nothing is served from it)\nTraceback: line 1\n \
             INFO wshost.reload: Reloaded in 7 ms: changed /a; added /e; removed /c\n",
            b = place.path("b_wsh.py").display(),
            d = place.path("d_wsh.py").display(),
        );
        assert_eq!(text, expected);
    }
}
