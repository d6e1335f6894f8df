//! What the system watches for us, and what it tells: the one place that knows the crate `notify`.
//!
//! Events are hints. In doubt (events were lost, many folders went at once, the tree is another one) these watches are
//! dropped and new ones made, and everything is looked at. Must not import pyo3 or tokio.
//!
//! - `mailbox` – what the system told, until somebody reads it; `refusal` – why it does not watch

mod mailbox;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use notify::{Config, EventKindMask, PathOp, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::registry::Inputs;
use crate::panics;
pub(super) use mailbox::{Change, Event};
use mailbox::{MANY, Mailbox};
pub(super) use refusal::Refused;
use refusal::report_unwatched;

/// What makes an event: all changes, and the end of writing, for what was written through a memory map shows in no
/// other way. To open and to read are none: our own look at a large tree would fill the system's queue, and any
/// program that reads the tree would cost us time.
fn config() -> Config {
    let kinds = EventKindMask::CORE.union(EventKindMask::ACCESS_CLOSE);
    // What links lead to is watched by its own name: to follow them all takes ten times as long.
    Config::default().with_event_kinds(kinds).with_follow_symlinks(false)
}

/// What is watched.
pub(super) struct Watches {
    watcher: Option<RecommendedWatcher>,
    mailbox: Arc<Mailbox>,
    /// Watched with everything below it, if it is there.
    scan: PathBuf,
    /// Whether it was there.
    has_scan: bool,
    /// Folders that are watched without what is below: where links and the alias file lie, and what `scan` lies in. For
    /// one that is not there, the nearest folder above it that is.
    beside: BTreeSet<PathBuf>,
    /// Files that are watched themselves, for those that are written under another name (another hard link, the file
    /// that is mounted there) make no event in their folder; with what tells one from the other.
    files: BTreeMap<PathBuf, Identity>,
    /// What `notify` may still watch under a name that means something else by now.
    outdated: BTreeSet<PathBuf>,
}

/// What tells one file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    has_other_names: bool,
}

impl Identity {
    fn is_same_file(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        // Its thread is told to end first: `notify` panics if it is not there to be told.
        let watcher = self.watcher.take();
        if self.mailbox.has_died() {
            panics::quietly(|| drop(watcher));
        } else {
            drop(watcher);
        }
        self.mailbox.close();
    }
}

impl Watches {
    /// Watches `scan` and what is below it, if it is there and `is_silent` does not say that there would be no events. What
    /// happens there from now on makes an event; `wake` is called when there are some. Folders that we may not read are
    /// left out: no file there is loaded.
    pub(super) fn open(
        scan: &Path,
        is_silent: bool,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, Refused> {
        let mailbox = Arc::new(Mailbox::new(wake));
        let receiver = Arc::clone(&mailbox);
        let watcher = RecommendedWatcher::new(move |event| receiver.take(event), config())
            .map_err(|error| Refused::from_any(&error))?;
        let mut new = Self {
            watcher: Some(watcher),
            mailbox,
            scan: scan.to_owned(),
            has_scan: false,
            beside: BTreeSet::new(),
            files: BTreeMap::new(),
            outdated: BTreeSet::new(),
        };
        new.has_scan = is_silent || new.watch_tree(scan)?;
        Ok(new)
    }

    /// Watches `scan` and what is below it. Whether it can be watched. Not as [`Self::apply`] does it, in which the watcher
    /// deals with events without telling us.
    fn watch_tree(&mut self, scan: &Path) -> Result<bool, Refused> {
        let Some(watcher) = &mut self.watcher else { return Ok(false) };
        let _waiting = self.mailbox.waiting();
        let Err(error) = watcher.watch(scan, RecursiveMode::Recursive) else { return Ok(true) };
        if self.mailbox.has_died() {
            return Ok(true);
        }
        if let Some(refused) = Refused::of(&error) {
            return Err(refused);
        }
        report_unwatched(scan, &error);
        Ok(false)
    }

    /// Whether the tree is watched, or is not to be; otherwise it was not there.
    pub(super) fn has_scan(&self) -> bool {
        self.has_scan
    }

    /// Watches the folders beside the tree that `inputs` lie in, and the files themselves, and no others. Gives what is
    /// newly watched: changes may have been missed there. `None`: so many watches have to end that all had better be
    /// made anew.
    pub(super) fn follow(&mut self, inputs: &Inputs) -> Result<Option<Vec<PathBuf>>, Refused> {
        let outside = inputs.outside.iter().map(PathBuf::as_path).chain([self.scan.as_path()]);
        let folders: BTreeSet<PathBuf> = outside
            .filter_map(|path| path.ancestors().skip(1).find(|folder| folder.is_dir()))
            .filter(|folder| !self.has_scan || !folder.starts_with(&self.scan))
            .map(Path::to_owned)
            .collect();
        let files: BTreeMap<PathBuf, Identity> = inputs
            .files
            .iter()
            .chain(&inputs.outside)
            .filter_map(|path| Some((path.clone(), identity(path)?)))
            .collect();
        let outdated = std::mem::take(&mut self.outdated);
        let mut operations: Vec<PathOp> = outdated.iter().map(PathOp::unwatch).collect();
        let left = self.beside.difference(&folders);
        operations.extend(left.map(PathOp::unwatch));
        let changed = self.files.iter().filter(|(path, identity)| files.get(*path) != Some(identity));
        operations.extend(changed.map(|(path, _)| PathOp::unwatch(path)));
        if operations.len() > MANY {
            return Ok(None);
        }
        let mut new: Vec<PathBuf> = folders.difference(&self.beside).cloned().collect();
        operations.extend(new.iter().map(PathOp::watch_non_recursive));
        for (path, file) in &files {
            if self.files.get(path) != Some(file) {
                operations.push(PathOp::watch_non_recursive(path));
                // Of another file in the place of one that was watched, the folder tells, if it has no other names.
                if file.has_other_names || !(self.files.contains_key(path) || outdated.contains(path)) {
                    new.push(path.clone());
                }
            }
        }
        (self.beside, self.files) = (folders, files);
        let failed = self.apply(operations)?;
        for path in &failed {
            self.beside.remove(path);
            self.files.remove(path);
        }
        new.retain(|path| !failed.contains(path));
        Ok(Some(new))
    }

    /// Waits until what the system told of so far is watched: the event of a new folder comes before its watch.
    pub(super) fn catch_up(&mut self) {
        let _waiting = self.mailbox.waiting();
        // An error: the watcher is at its end. That has been told.
        let _ = self.watcher.as_mut().map(|watcher| watcher.configure(config()));
    }

    /// Gives what the system told to `take`. Gives when it last did.
    pub(super) fn read(&mut self, mut take: impl FnMut(Event)) -> Option<Instant> {
        let (events, latest) = self.mailbox.empty();
        for event in events {
            let Event::Changed { path, change } = event else {
                take(event);
                continue;
            };
            if matches!(change, Change::Came | Change::Went) {
                self.forget(&path);
            }
            // The system names but one of the files that are the same.
            if let Some(&identity) = self.files.get(&path) {
                let same =
                    self.files.iter().filter(|(other, its)| its.is_same_file(identity) && **other != path);
                same.for_each(|(other, _)| take(Event::Changed { path: other.clone(), change }));
            }
            take(Event::Changed { path, change });
        }
        latest
    }

    /// Something else may be there under the name `path`: the next [`Self::follow`] watches it anew.
    fn forget(&mut self, path: &Path) {
        if self.beside.remove(path) | self.files.remove(path).is_some() {
            self.outdated.insert(path.to_owned());
        }
    }

    /// Makes and ends watches. Gives the places that cannot be watched.
    fn apply(&mut self, operations: Vec<PathOp>) -> Result<Vec<PathBuf>, Refused> {
        let mut failed = Vec::new();
        let mut rest = operations;
        let Some(watcher) = &mut self.watcher else { return Ok(failed) };
        let _waiting = self.mailbox.waiting();
        while !rest.is_empty() {
            let Err(error) = watcher.update_paths(rest) else { break };
            // What has ended it has been told, and is read next.
            if self.mailbox.has_died() {
                break;
            }
            if let Some(refused) = Refused::of(&error.source) {
                return Err(refused);
            }
            rest = error.remaining;
            match error.origin {
                Some(PathOp::Watch(path, _)) => {
                    report_unwatched(&path, &error.source);
                    failed.push(path);
                }
                // It was not watched any more.
                Some(PathOp::Unwatch(_)) => {}
                None => return Err(Refused::from_any(&error.source)),
            }
        }
        Ok(failed)
    }
}

/// What tells the regular file `path` from another one.
fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::symlink_metadata(path).ok()?;
    metadata.is_file().then(|| Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        has_other_names: metadata.nlink() > 1,
    })
}

#[cfg(test)]
mod tests;
