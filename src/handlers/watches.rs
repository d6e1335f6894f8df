//! The directories that the system watches for us with inotify, and what it tells of them.
//!
//! The crate `notify` asks for an event whenever a file is opened. Our own look at a large tree then fills the
//! system's queue, so that events are lost and everything has to be looked at again, and any program that reads
//! the tree costs us time. What is watched here is changes only. Must not import pyo3 or tokio.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::mem::MaybeUninit;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::registry::Inputs;

/// What makes an event. The end of writing is among it: what was written through a memory map shows in no other
/// way.
const CHANGES: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF);

const WENT: ReadFlags = ReadFlags::DELETE
    .union(ReadFlags::DELETE_SELF)
    .union(ReadFlags::MOVED_FROM)
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::UNMOUNT);

const CAME: ReadFlags = ReadFlags::CREATE.union(ReadFlags::MOVED_TO);

/// Room for this many bytes of events at a time: some hundreds.
const BUFFER: usize = 32 << 10;

/// What happened to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is there, perhaps in the place of another file.
    Came,
    /// It is not there any more, or was not for a moment.
    Went,
    /// Its contents or its metadata are others.
    Written,
}

/// Something that the system tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Something happened to `path`.
    Changed {
        /// Below the name under which its directory was last watched.
        path: PathBuf,
        /// What happened.
        change: Change,
        /// Whether it is a directory, or was.
        is_directory: bool,
    },
    /// There were too many events; some are missing.
    Lost,
}

/// The watched directories.
pub(super) struct Watches {
    inotify: OwnedFd,
    /// Watched with everything below it.
    scan: PathBuf,
    /// Watched without what is below: where links and the alias file lead to, and what `scan` lies in. For one
    /// that is not there, the nearest directory above it that is.
    beside: BTreeSet<PathBuf>,
    /// The directory of each watch, under the name that it was last seen under.
    by_descriptor: HashMap<i32, Arc<Path>>,
    /// The same the other way round; what lies below a directory comes next to it.
    by_path: BTreeMap<Arc<Path>, Watch>,
    /// Number of the last [`Self::renew`].
    pass: u64,
}

struct Watch {
    descriptor: i32,
    /// The number of the last look that found the directory.
    pass: u64,
}

impl AsFd for Watches {
    /// Readable when there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl Watches {
    /// Watches nothing yet.
    pub(super) fn open(scan: &Path) -> rustix::io::Result<Self> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            scan: scan.to_owned(),
            beside: BTreeSet::new(),
            by_descriptor: HashMap::new(),
            by_path: BTreeMap::new(),
            pass: 0,
        })
    }

    /// Makes the watches at and below `directory` those of the directories that are there. What happens in them
    /// when this returns makes an event. An error: the system has no room for more watches.
    ///
    /// Directories that we may not read are left out: no file there is loaded.
    pub(super) fn renew(&mut self, directory: &Path) -> rustix::io::Result<()> {
        self.pass += 1;
        let mut pending = vec![directory.to_owned()];
        while let Some(directory) = pending.pop() {
            // The tree itself may be a link by now, and is followed as at the start.
            let follow = if directory == self.scan { WatchFlags::empty() } else { WatchFlags::DONT_FOLLOW };
            match self.add(&directory, follow) {
                Ok(()) => {}
                Err(error) if is_limit(error) => return Err(error),
                Err(error) => {
                    report_unwatched(&directory, error);
                    continue;
                }
            }
            // Read after the watch was made: a directory that comes in between is found, or makes an event.
            let entries = fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok);
            let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            pending.extend(directories.map(|entry| entry.path()));
        }
        let from = (Bound::Included(directory), Bound::Unbounded);
        let below = self.by_path.range::<Path, _>(from).take_while(|(path, _)| path.starts_with(directory));
        let gone = below.filter(|(_, watch)| watch.pass != self.pass).map(|(path, _)| Arc::clone(path));
        for path in gone.collect::<Vec<_>>() {
            self.remove(&path);
        }
        Ok(())
    }

    /// Watches the directories beside the tree that `inputs` lie in, and no others. Gives the new ones: changes
    /// may have been missed there. An error: the system has no room for more watches.
    pub(super) fn follow(&mut self, inputs: &Inputs) -> rustix::io::Result<Vec<PathBuf>> {
        let outside = inputs.outside.iter().map(PathBuf::as_path).chain([self.scan.as_path()]);
        let wanted: BTreeSet<PathBuf> = outside
            .filter_map(|path| path.ancestors().skip(1).find(|directory| directory.is_dir()))
            .filter(|directory| !directory.starts_with(&self.scan))
            .map(Path::to_owned)
            .collect();
        for directory in self.beside.difference(&wanted).cloned().collect::<Vec<_>>() {
            self.leave(&directory);
        }
        let mut new = Vec::new();
        for directory in wanted.difference(&self.beside.clone()) {
            match self.add(directory, WatchFlags::empty()) {
                Ok(()) => new.push(directory.clone()),
                Err(error) if is_limit(error) => return Err(error),
                Err(error) => report_unwatched(directory, error),
            }
        }
        self.beside.extend(new.iter().cloned());
        Ok(new)
    }

    /// Watches `directory` no longer, if it lies beside the tree. Whether it was watched.
    pub(super) fn leave(&mut self, directory: &Path) -> bool {
        let was_watched = self.beside.remove(directory);
        if was_watched {
            self.remove(directory);
        }
        was_watched
    }

    /// Reads some events, if there are any. Gives what is known of each to `take`.
    pub(super) fn read(&mut self, mut take: impl FnMut(Event)) -> rustix::io::Result<()> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(()),
                Err(error) => return Err(error),
            };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                take(Event::Lost);
            } else if let Some(directory) = self.by_descriptor.get(&event.wd()).cloned() {
                if flags.contains(ReadFlags::IGNORED) {
                    // The system has ended the watch, mostly because the directory is gone.
                    self.by_descriptor.remove(&event.wd());
                    if self.by_path.get(&directory).is_some_and(|watch| watch.descriptor == event.wd()) {
                        self.by_path.remove(&directory);
                    }
                } else {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    take(Event::Changed {
                        path: name.map_or_else(|| directory.to_path_buf(), |name| directory.join(name)),
                        change: change(flags),
                        is_directory: name.is_none() || flags.contains(ReadFlags::ISDIR),
                    });
                }
            }
            if reader.is_buffer_empty() {
                return Ok(());
            }
        }
    }

    fn add(&mut self, directory: &Path, flags: WatchFlags) -> rustix::io::Result<()> {
        let flags = CHANGES | WatchFlags::ONLYDIR | flags;
        // A directory that was watched under another name keeps its watch.
        let descriptor = inotify::add_watch(&self.inotify, directory, flags)?;
        let directory: Arc<Path> = directory.into();
        self.by_descriptor.insert(descriptor, Arc::clone(&directory));
        let watch = Watch { descriptor, pass: self.pass };
        if let Some(old) = self.by_path.insert(Arc::clone(&directory), watch)
            && old.descriptor != descriptor
        {
            self.end(old.descriptor, &directory);
        }
        Ok(())
    }

    fn remove(&mut self, directory: &Path) {
        if let Some(watch) = self.by_path.remove(directory) {
            self.end(watch.descriptor, directory);
        }
    }

    /// Ends a watch, unless its directory was found under another name than `directory` since.
    fn end(&mut self, descriptor: i32, directory: &Path) {
        if self.by_descriptor.get(&descriptor).is_some_and(|path| **path == *directory) {
            self.by_descriptor.remove(&descriptor);
            // An error: the directory is gone, and the watch with it.
            let _ = inotify::remove_watch(&self.inotify, descriptor);
        }
    }
}

fn change(flags: ReadFlags) -> Change {
    if flags.intersects(WENT) {
        Change::Went
    } else if flags.intersects(CAME) {
        Change::Came
    } else {
        Change::Written
    }
}

/// Whether the system has no room for more watches.
fn is_limit(error: Errno) -> bool {
    matches!(error, Errno::NOSPC | Errno::NOMEM)
}

/// What the system said, and what to do where it is not plain.
pub(super) fn reason(error: Errno) -> String {
    match error {
        Errno::NOSPC => {
            "the limit on watched directories is reached (raise fs.inotify.max_user_watches)".to_owned()
        }
        Errno::MFILE => format!(
            "{error}: the limit on inotify instances or open files is reached \
             (raise fs.inotify.max_user_instances or ulimit -n)"
        ),
        _ => error.to_string(),
    }
}

fn report_unwatched(directory: &Path, error: Errno) {
    let directory = directory.display();
    match error {
        // It went meanwhile, or is a link now.
        Errno::NOENT | Errno::NOTDIR => {}
        Errno::ACCESS => tracing::debug!(target: "wshost.reload", "{directory} is not watched: {error}"),
        _ => tracing::error!(
            target: "wshost.reload",
            "cannot watch {directory} for changes: {error}; what is saved there is loaded late or not at all"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::super::testing::Place;
    use super::*;

    /// The names and kinds of the events up to the one about `last`.
    fn until(watches: &mut Watches, place: &Place, last: &str) -> Vec<(String, Change)> {
        let mut all = Vec::new();
        while all.last().is_none_or(|(name, _)| name != last) {
            let mut ready = [PollFd::new(watches, PollFlags::IN)];
            let timeout = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
            assert_eq!(poll(&mut ready, Some(&timeout)), Ok(1), "no more events after {all:?}");
            let take = |event| {
                let Event::Changed { path, change, .. } = event else { panic!("lost events") };
                all.push((path.strip_prefix(&place.root).unwrap().display().to_string(), change));
            };
            watches.read(take).unwrap();
        }
        all
    }

    fn names(events: &[(String, Change)]) -> Vec<&str> {
        events.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn watched(place: &Place) -> Watches {
        let mut watches = Watches::open(&place.root).unwrap();
        watches.renew(&place.root).unwrap();
        watches
    }

    #[test]
    fn reading_is_no_event() {
        let place = Place::with(&[("a/b.py", "b")]);
        let mut watches = watched(&place);
        for _ in 0..3 {
            fs::read(place.path("a/b.py")).unwrap();
            fs::read_dir(place.path("a")).unwrap().for_each(drop);
        }
        place.write("a/end", "");
        let events = until(&mut watches, &place, "a/end");
        assert!(events.iter().all(|(name, _)| name == "a/end"), "{events:?}");
    }

    #[test]
    fn a_directory_that_was_moved_is_known_by_its_new_name() {
        let place = Place::with(&[("old/deep/x", ""), ("other/x", "")]);
        let mut watches = watched(&place);
        fs::rename(place.path("old"), place.path("other/new")).unwrap();
        // In both orders: the new name may be looked at before the old one.
        for order in [["other/new", "old"], ["old", "other/new"]] {
            for name in order {
                watches.renew(&place.path(name)).unwrap();
            }
            place.write("other/new/deep/end", "");
            assert_eq!(
                names(&until(&mut watches, &place, "other/new/deep/end")).last(),
                Some(&"other/new/deep/end")
            );
        }
        assert_eq!(watches.by_descriptor.len(), 4);
        assert_eq!(watches.by_path.len(), 4);
    }

    #[test]
    fn a_directory_that_was_moved_away_is_not_watched_any_more() {
        let place = Place::with(&[("old/deep/x", "")]);
        let mut watches = watched(&place);
        fs::rename(place.path("old"), place.path("../away")).unwrap();
        watches.renew(&place.path("old")).unwrap();
        place.write("../away/deep/x", "y");
        place.write("end", "");
        assert!(names(&until(&mut watches, &place, "end")).iter().all(|name| !name.contains("deep")));
        assert_eq!((watches.by_descriptor.len(), watches.by_path.len()), (1, 1));
    }

    #[test]
    fn another_directory_of_the_same_name_is_watched_instead() {
        let place = Place::with(&[("a/x", ""), ("../b/x", "")]);
        let mut watches = watched(&place);
        fs::rename(place.path("a"), place.path("../a")).unwrap();
        fs::rename(place.path("../b"), place.path("a")).unwrap();
        watches.renew(&place.path("a")).unwrap();
        place.write("../a/old", "");
        place.write("a/end", "");
        assert!(!names(&until(&mut watches, &place, "a/end")).contains(&"a/old"));
        assert_eq!((watches.by_descriptor.len(), watches.by_path.len()), (2, 2));
    }

    #[test]
    fn what_is_deleted_takes_its_watches_along() {
        let place = Place::with(&[("a/b/c/x", "")]);
        let mut watches = watched(&place);
        fs::remove_dir_all(place.path("a")).unwrap();
        until(&mut watches, &place, "a");
        // The system says that a watch has ended after the event of the directory's end.
        place.write("end", "");
        until(&mut watches, &place, "end");
        assert_eq!((watches.by_descriptor.len(), watches.by_path.len()), (1, 1));
    }

    #[test]
    fn links_to_directories_are_not_followed() {
        let place = Place::with(&[("../outside/deep/x", "")]);
        symlink("../outside", place.path("link")).unwrap();
        let mut watches = watched(&place);
        watches.renew(&place.path("link")).unwrap();
        assert_eq!(watches.by_path.len(), 1);
    }

    #[test]
    fn says_why_it_cannot_watch() {
        let limit = reason(Errno::NOSPC);
        assert!(limit.contains("fs.inotify.max_user_watches"), "{limit}");
        let instances = reason(Errno::MFILE);
        assert!(instances.contains("fs.inotify.max_user_instances"), "{instances}");
    }
}
