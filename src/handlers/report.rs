//! What a reload did, for the log and the history. Must not import pyo3 or tokio.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::handler::Handler;
use super::history::{self, Reload};
use super::loader::LoadError;
use super::map_file::MapProblem;
use super::snapshot::{Snapshot, log_map_problems};

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
    /// When some files have to be looked at again, whatever happens.
    pub(super) again_at: Option<Instant>,
    /// Whether all of them have to.
    pub(super) looks_at_everything_again: bool,
}

impl ReloadReport {
    /// Whether nothing changed and nothing failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.served_the_same() && self.failed.is_empty() && self.map_problems.is_empty()
    }

    /// There is something to look at again at this time.
    pub(super) fn look_again(&mut self, at: Instant) {
        self.again_at = self.again_at.into_iter().chain([at]).min();
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

    /// Logs the reload, and keeps it in the history if it did something: one INFO line for what changed, one ERROR with
    /// the traceback for each file that failed. `snapshot` is the one that it made.
    pub fn log<S>(&self, snapshot: &Snapshot<S>) {
        if !self.is_empty() {
            history::keep(Reload {
                at: SystemTime::now(),
                took: self.took,
                added: self.added.clone(),
                changed: self.changed.clone(),
                removed: self.removed.clone(),
                failed: self.failed.clone(),
            });
        }
        for (path, error) in &self.failed {
            let then = match snapshot.by_path(path) {
                Some(handler) => format!("{} is still served by its last good version", handler.resource),
                None => "nothing is served from it".to_owned(),
            };
            let error = LoadError { message: format!("{} ({then})", error.message), ..error.clone() };
            tracing::error!(target: "wshost.reload", "{}", error.describe(path));
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::sync::Mutex;

    use super::super::testing::Place;
    use super::*;

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
