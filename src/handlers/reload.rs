//! One file at a time: what is known about it, whether it has to be loaded again, and the report of it all.
//!
//! [`registry`](super::registry) decides when; this decides what. Must not import pyo3 or tokio.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::map_file::MapProblem;
use super::resource::{Candidate, Content, Stamp, cannot_be_read, is_absent};
use super::snapshot::{Digest, Handler, Snapshot, log_map_problems};
use super::{LoadError, Loader};

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
        for (resource, handler) in &new.handlers {
            match old.handlers.get(resource) {
                None => self.added.push(resource.clone()),
                Some(before) if !Arc::ptr_eq(&before.suite, &handler.suite) => {
                    self.changed.push(resource.clone());
                }
                Some(_) => {}
            }
        }
        let gone = old.handlers.keys().filter(|resource| !new.handlers.contains_key(*resource));
        self.removed.extend(gone.cloned());
        let fresh = new.map_problems.iter().filter(|problem| !old.map_problems.contains(problem));
        self.map_problems.extend(fresh.cloned());
    }

    /// Logs the reload: one INFO line for what changed, one ERROR with the traceback for each file that failed.
    /// `snapshot` is the one that it made.
    pub fn log<S>(&self, snapshot: &Snapshot<S>) {
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
}

impl<S> Clone for FileState<S> {
    fn clone(&self) -> Self {
        Self {
            content: self.content.clone(),
            settled: self.settled,
            digest: self.digest,
            handler: self.handler.clone(),
            error: self.error.clone(),
            links: self.links.clone(),
        }
    }
}

/// The outcome of [`examine`].
pub(super) struct Examined<S> {
    /// What is known now.
    pub(super) state: FileState<S>,
    /// Whether `state.error` is news.
    pub(super) failed: bool,
}

/// Brings `known`, what is known about a file, up to date; loads the file if it is new or has other bytes than
/// before. `None`: the file went away meanwhile.
pub(super) fn examine<L: Loader>(
    loader: &L,
    candidate: Candidate,
    known: Option<&FileState<L::Suite>>,
) -> Option<Examined<L::Suite>> {
    let last_good = known.and_then(|known| known.handler.as_ref());
    let stamp = match &candidate.content {
        Content::File(stamp) => *stamp,
        Content::Unreadable(reason) => {
            let reason = reason.clone();
            return Some(unloadable(candidate, known, last_good, reason));
        }
        Content::Nothing(reason) => {
            let reason = reason.clone();
            return Some(unloadable(candidate, known, None, reason));
        }
    };
    let same_stamp = known.filter(|known| known.content == candidate.content);
    if let Some(known) = same_stamp.filter(|known| known.settled) {
        let state = FileState { links: candidate.links, ..known.clone() };
        return Some(Examined { state, failed: false });
    }
    let settled = is_settled(&stamp);
    let digest = match fs::read(&candidate.path) {
        Ok(bytes) => digest(&bytes),
        Err(error) if is_absent(&error) => return None,
        Err(error) => return Some(unloadable(candidate, known, last_good, cannot_be_read(&error))),
    };
    // A file that failed and was saved again as it was is tried again: what it imports may be there now.
    let same_bytes =
        known.filter(|known| known.digest == Some(digest) && (known.error.is_none() || same_stamp.is_some()));
    if let Some(known) = same_bytes {
        let (content, links) = (candidate.content, candidate.links);
        let state = FileState { content, settled, links, ..known.clone() };
        return Some(Examined { state, failed: false });
    }
    Some(load(loader, candidate, settled, digest, last_good))
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
    let with_error = |handler: &Arc<Handler<S>>| Arc::new(handler.with_error(error.clone()));
    let handler = if failed { stays.map(with_error) } else { stays.cloned() };
    let (content, links) = (candidate.content, candidate.links);
    let state = FileState { content, settled: false, digest: None, handler, error: Some(error), links };
    Examined { state, failed }
}

fn load<L: Loader>(
    loader: &L,
    candidate: Candidate,
    settled: bool,
    before: Digest,
    last_good: Option<&Arc<Handler<L::Suite>>>,
) -> Examined<L::Suite> {
    let result = loader.load(&candidate.path);
    // The loader read the file on its own. If it changed since we did, which bytes the suite is made of is
    // unknown, and the next look at the file loads it again.
    let unchanged = fs::read(&candidate.path).is_ok_and(|bytes| digest(&bytes) == before);
    let (handler, error) = match result {
        Ok(suite) => {
            let handler = candidate.resource.map(|resource| {
                Arc::new(Handler {
                    resource,
                    path: candidate.path,
                    suite: Arc::new(suite),
                    version: last_good.map_or(1, |old| old.version + 1),
                    loaded_at: SystemTime::now(),
                    digest: before,
                    error: None,
                })
            });
            (handler, None)
        }
        Err(error) => (last_good.map(|old| Arc::new(old.with_error(error.clone()))), Some(error)),
    };
    let failed = error.is_some();
    let state = FileState {
        content: candidate.content,
        settled: settled && unchanged,
        digest: unchanged.then_some(before),
        handler,
        error,
        links: candidate.links,
    };
    Examined { state, failed }
}

/// Whether a change from now on is bound to give the file another stamp.
fn is_settled(stamp: &Stamp) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let quiet_before = now.saturating_sub(CLOCK_TICK).as_nanos();
    i128::try_from(quiet_before).is_ok_and(|limit| stamp.touched() < limit)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::super::resource::HandlerTree;
    use super::super::testing::{Place, StubLoader};
    use super::*;

    fn candidate(place: &Place) -> Candidate {
        HandlerTree::open(&place.config).unwrap().candidate(&place.path("a_wsh.py")).unwrap()
    }

    fn suite(examined: &Examined<String>) -> &str {
        &examined.state.handler.as_ref().unwrap().suite
    }

    #[test]
    fn a_stamp_says_nothing_about_a_file_that_was_just_written() {
        let place = Place::with(&[("a_wsh.py", "a1")]);
        let loader = StubLoader::default();
        let first = examine(&loader, candidate(&place), None).unwrap();
        let same_tick = Candidate { content: first.state.content.clone(), ..candidate(&place) };
        place.write("a_wsh.py", "a2");
        let second = examine(&loader, same_tick, Some(&first.state)).unwrap();
        assert_eq!(suite(&second), "a2");
    }

    /// A loader to which the file looks other than to everybody else.
    struct Elsewhere;

    impl Loader for Elsewhere {
        type Suite = String;

        fn load(&self, path: &Path) -> Result<String, LoadError> {
            let before = fs::read_to_string(path).unwrap();
            fs::write(path, "passing").unwrap();
            let suite = fs::read_to_string(path).unwrap();
            fs::write(path, before + "!").unwrap();
            Ok(suite)
        }
    }

    #[test]
    fn what_changed_under_the_loader_is_loaded_again() {
        let place = Place::with(&[("a_wsh.py", "a")]);
        let first = examine(&Elsewhere, candidate(&place), None).unwrap();
        assert_eq!(suite(&first), "passing");
        // Back to the bytes that were there when the load began.
        place.write("a_wsh.py", "a");
        let second = examine(&StubLoader::default(), candidate(&place), Some(&first.state)).unwrap();
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
