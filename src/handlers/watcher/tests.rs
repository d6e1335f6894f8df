//! The watcher on real files and the system's own events. Every test waits for what must come about.

use std::fs;
use std::mem;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::super::snapshot::Snapshot;
use super::super::testing::{Place, StubLoader, TEST_LIMIT, served, text};
use super::super::watches::{Change, Event};
use super::reloader::{Watching, Woken};
use super::*;

/// A place that is watched.
struct Watched {
    registry: Arc<Registry<StubLoader>>,
    place: Place,
    _watcher: Watcher,
}

impl Watched {
    fn new(place: Place) -> Self {
        let registry = place.open();
        Self::around(place, registry)
    }

    fn around(place: Place, registry: Arc<Registry<StubLoader>>) -> Self {
        let watcher = watch(Arc::clone(&registry), &place.config).unwrap_or_else(|error| panic!("{error}"));
        Self { registry, place, _watcher: watcher }
    }

    fn with(files: &[(&str, &str)]) -> Self {
        Self::new(Place::with(files))
    }

    /// Waits for a snapshot that `matches`.
    fn wait(&self, matches: impl Fn(&Snapshot<String>) -> bool) -> Arc<Snapshot<String>> {
        let deadline = Instant::now() + TEST_LIMIT;
        loop {
            let snapshot = self.registry.snapshot();
            if matches(&snapshot) {
                return snapshot;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let next = self.registry.wait_for_generation(snapshot.generation() + 1, left);
            assert!(next.is_some(), "still {:?}, {:?}", served(&snapshot), snapshot.warnings());
        }
    }

    /// Waits until exactly this is served.
    fn wait_served(&self, expected: &[(&str, &str)]) -> Arc<Snapshot<String>> {
        self.wait(|snapshot| served(snapshot) == expected)
    }

    /// Replaces a file in one step: nobody sees it empty.
    fn replace(&self, name: &str, text: &str) {
        self.place.write("../draft", text);
        self.rename("../draft", name);
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.place.path(from), self.place.path(to)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.place.path(name)).unwrap();
    }
}

#[test]
fn loads_what_is_saved_however_it_is_saved() {
    let watched = Watched::with(&[("a_wsh.py", "a1"), ("d/b_wsh.py", "b1")]);
    let first = watched.registry.snapshot();
    let b = ("/d/b", "b1");
    watched.place.write("a_wsh.py", "a2");
    watched.wait_served(&[("/a", "a2"), b]);
    // Over it: vim, PyCharm, git.
    watched.place.write("a_wsh.py.new", "a3");
    watched.rename("a_wsh.py.new", "a_wsh.py");
    watched.wait_served(&[("/a", "a3"), b]);
    // From outside of the tree.
    watched.replace("a_wsh.py", "a4");
    watched.wait_served(&[("/a", "a4"), b]);
    watched.remove("a_wsh.py");
    watched.place.write("a_wsh.py", "a5");
    watched.wait_served(&[("/a", "a5"), b]);
    watched.remove("a_wsh.py");
    let last = watched.wait_served(&[b]);
    assert!(Arc::ptr_eq(&first.handlers["/d/b"], &last.handlers["/d/b"]), "an untouched file stays");
    assert_eq!(text(&first, "/a").as_deref(), Some("a1"), "what was taken before stays");
    watched.place.write("c_wsh.py", "c1");
    watched.wait_served(&[("/c", "c1"), b]);
}

#[test]
fn keeps_the_last_good_version_until_the_file_is_repaired() {
    let watched = Watched::with(&[("a_wsh.py", "a1")]);
    watched.replace("a_wsh.py", "FAIL a2");
    let bad = watched.wait(|snapshot| snapshot.warnings().iter().any(|w| w.contains("FAIL a2")));
    assert_eq!(served(&bad), [("/a", "a1")]);
    watched.place.write("a_wsh.py", "a3");
    let good = watched.wait_served(&[("/a", "a3")]);
    assert!(good.warnings().is_empty());
}

#[test]
fn follows_directories_that_come_and_go() {
    let watched = Watched::with(&[("a_wsh.py", "a")]);
    let a = ("/a", "a");
    watched.place.write("new/deep/b_wsh.py", "b1");
    watched.wait_served(&[a, ("/new/deep/b", "b1")]);
    watched.place.write("new/deep/b_wsh.py", "b2");
    watched.wait_served(&[a, ("/new/deep/b", "b2")]);
    watched.rename("new", "../away");
    watched.wait_served(&[a]);
    watched.rename("../away", "back");
    watched.wait_served(&[a, ("/back/deep/b", "b2")]);
    watched.place.write("back/deep/b_wsh.py", "b3");
    watched.wait_served(&[a, ("/back/deep/b", "b3")]);
    watched.rename("back", "other");
    watched.wait_served(&[a, ("/other/deep/b", "b3")]);
    watched.place.write("other/deep/b_wsh.py", "b4");
    watched.wait_served(&[a, ("/other/deep/b", "b4")]);
    fs::remove_dir_all(watched.place.path("other")).unwrap();
    watched.wait_served(&[a]);
}

#[test]
fn follows_the_scan_directory_when_it_is_replaced() {
    let watched = Watched::with(&[("a_wsh.py", "a1"), ("../next/a_wsh.py", "a2")]);
    watched.rename("", "../old");
    watched.rename("../next", "../handlers");
    watched.wait_served(&[("/a", "a2")]);
    watched.place.write("a_wsh.py", "a3");
    watched.wait_served(&[("/a", "a3")]);
    fs::remove_dir_all(&watched.place.root).unwrap();
    watched.wait_served(&[]);
    watched.place.write("a_wsh.py", "a4");
    watched.wait_served(&[("/a", "a4")]);
}

#[test]
fn follows_links_to_where_the_file_is_edited() {
    let mut place = Place::with(&[("../one/a.py", "a1"), ("../two/a.py", "a2"), ("impl/b.py", "b1")]);
    place.config.allow_outside_root = true;
    symlink("../one/a.py", place.path("a_wsh.py")).unwrap();
    symlink("impl/b.py", place.path("b_wsh.py")).unwrap();
    let watched = Watched::new(place);
    watched.wait_served(&[("/a", "a1"), ("/b", "b1")]);
    watched.place.write("../one/a.py", "a1 edited");
    watched.wait_served(&[("/a", "a1 edited"), ("/b", "b1")]);
    watched.place.write("impl/b.py", "b2");
    watched.wait_served(&[("/a", "a1 edited"), ("/b", "b2")]);
    // The link is switched, and edits at the new target count from then on.
    symlink("../two/a.py", watched.place.path("tmp")).unwrap();
    watched.rename("tmp", "a_wsh.py");
    watched.wait_served(&[("/a", "a2"), ("/b", "b2")]);
    watched.replace("../two/a.py", "a3");
    watched.wait_served(&[("/a", "a3"), ("/b", "b2")]);
    watched.remove("../two/a.py");
    watched.wait_served(&[("/b", "b2")]);
    watched.place.write("../two/a.py", "a4");
    watched.wait_served(&[("/a", "a4"), ("/b", "b2")]);
}

#[test]
fn reads_the_map_file_again() {
    let mut place = Place::with(&[("a_wsh.py", "a"), ("../conf/map.txt", "")]);
    place.config.map_file = Some(place.path("../conf/map.txt"));
    let watched = Watched::new(place);
    watched.place.write("../conf/map.txt", "/x /a\n");
    watched.wait_served(&[("/a", "a"), ("/x", "a")]);
    watched.replace("../conf/map.txt", "/y /a\n");
    watched.wait_served(&[("/a", "a"), ("/y", "a")]);
}

#[test]
fn loads_what_changed_before_the_watch_began() {
    let place = Place::with(&[("a_wsh.py", "a1")]);
    let registry = place.open();
    place.write("a_wsh.py", "a2");
    let watched = Watched::around(place, registry);
    watched.wait_served(&[("/a", "a2")]);
}

#[test]
fn loads_once_what_is_being_saved_when_the_watch_begins() {
    let mut place = Place::with(&[("a_wsh.py", "a1")]);
    // So long that a busy machine does not pause for longer between the steps.
    place.config.reload_delay = Duration::from_secs(2);
    let registry = place.open();
    place.write("a_wsh.py", "FAIL half of it");
    let first = registry.snapshot().generation();
    let watched = Watched::around(place, registry);
    let early = watched.registry.wait_for_generation(first + 1, Duration::from_millis(200));
    assert!(early.is_none(), "half of it was loaded");
    watched.place.write("a_wsh.py", "a2");
    watched.wait_served(&[("/a", "a2")]);
    assert_eq!(watched.place.loader.loads(), 2);
}

#[test]
fn many_files_at_once_are_one_reload() {
    let watched = Watched::with(&[("a_wsh.py", "a1")]);
    let before = watched.registry.snapshot().generation();
    let blocked = watched.place.loader.block("a_wsh.py");
    watched.replace("a_wsh.py", "a2");
    blocked.wait();
    for i in 0..200 {
        watched.replace(&format!("f{i}_wsh.py"), &i.to_string());
    }
    blocked.release();
    let after = watched.wait(|snapshot| snapshot.handlers().count() == 201);
    assert_eq!(after.generation(), before + 2, "a2 by itself, then all the others together");
    assert_eq!(watched.place.loader.loads(), 202);
}

#[test]
fn a_snapshot_is_to_be_had_while_a_file_loads() {
    let watched = Watched::with(&[("a_wsh.py", "a1")]);
    let blocked = watched.place.loader.block("a_wsh.py");
    watched.replace("a_wsh.py", "a2");
    blocked.wait();
    assert_eq!(served(&watched.registry.snapshot()), [("/a", "a1")]);
    blocked.release();
    watched.wait_served(&[("/a", "a2")]);
}

#[test]
fn the_thread_ends_with_the_watcher() {
    let place = Place::with(&[("a_wsh.py", "a1")]);
    let registry = place.open();
    let watcher = watch(Arc::clone(&registry), &place.config).unwrap();
    assert_eq!(watcher.thread.as_ref().unwrap().thread().name(), Some("wsh-reload"));
    drop(watcher);
    assert_eq!(Arc::strong_count(&registry), 1, "the thread's reference is gone");
}

#[test]
fn polls_when_told_to() {
    let mut place = Place::with(&[("a_wsh.py", "a1")]);
    place.config.reload_poll = Some(Duration::from_millis(10));
    let watched = Watched::new(place);
    watched.replace("a_wsh.py", "a2");
    watched.wait_served(&[("/a", "a2")]);
    watched.place.write("d/b_wsh.py", "b1");
    watched.wait_served(&[("/a", "a2"), ("/d/b", "b1")]);
    watched.remove("a_wsh.py");
    watched.wait_served(&[("/d/b", "b1")]);
}

/// What would run on the thread, without the thread. The tree is watched.
fn reloader(place: &Place, map: Option<&Path>) -> Reloader<StubLoader> {
    let config = HandlersConfig { map_file: map.map(Path::to_owned), ..place.config.clone() };
    let registry = Arc::new(Registry::open(&config, place.loader.clone()).unwrap_or_else(|e| panic!("{e}")));
    let mut reloader = Reloader::new(registry, &config, mpsc::channel());
    reloader.rebuild_if_due();
    reloader.inputs = reloader.registry.inputs();
    reloader.delay = Duration::from_millis(1);
    reloader.everything = false;
    assert!(matches!(reloader.watching, Watching::Events(_)));
    reloader
}

#[test]
fn looks_only_at_events_that_can_matter() {
    use Change::{Came, Touched, Went, Written};
    let place = Place::with(&[("d/a_wsh.py", ""), ("d/__pycache__/x", ""), ("../conf/map.txt", "")]);
    let mut reloader = reloader(&place, Some(&place.path("../conf/map.txt")));
    let event = |name: &str, change| Event::Changed { path: place.path(name).components().collect(), change };
    let table = [
        (event("a_wsh.py", Came), true),
        (event("d/a_wsh.py", Written), true),
        (event("d/a_wsh.py", Went), true),
        (event("d/A_WSH.PY", Came), true),
        (event("../conf/map.txt", Written), true),
        (event("../conf/map.txt", Came), true),
        (event("d", Came), true),
        (event("d", Went), true),
        (event("gone", Went), false),
        (event("d/4913", Came), false),
        (event("d/a_wsh.py~", Came), false),
        (event("d/.a_wsh.py.swp", Came), false),
        (event("d/.#a_wsh.py", Came), false),
        (event("d/helper.py", Written), false),
        (event("d/__pycache__", Came), false),
        (event("d/__pycache__/a_wsh.cpython-311.pyc", Came), false),
        (event("../conf", Came), true),
        (event("../conf/other.txt", Written), false),
        (event("../a_wsh.py", Came), false),
    ];
    for (event, matters) in table {
        let text = format!("{event:?}");
        assert_eq!(reloader.notice(event), matters, "{text}");
    }
    assert!(mem::take(&mut reloader.has_new_folders));
    // A change of the permissions may show what was hidden.
    assert!(reloader.notice(event("d", Touched)));
    assert!(reloader.has_new_folders);
    assert!(matches!(reloader.watching, Watching::Events(_)), "it was not in doubt");
    // Another directory in the place of the tree, or of what it lies in; lost events; one that may be read now.
    let doubts = [vec![event("", Came)], vec![event("../", Went)], vec![Event::Lost], vec![Event::Storm]];
    let denied = vec![Event::Denied { path: place.path("d") }, event("d", Touched)];
    for events in doubts.into_iter().chain([denied]) {
        let text = format!("{events:?}");
        let matters = events.into_iter().map(|event| reloader.notice(event)).last();
        assert!(matters.unwrap() && matches!(reloader.watching, Watching::Anew(_)), "{text}");
        reloader.watching = Watching::Anew(Instant::now());
        reloader.reload();
        assert!(matches!(reloader.watching, Watching::Events(_)), "{text}");
    }
    assert!(reloader.notice(Event::Full { reason: "no room".to_owned() }));
    assert!(matches!(reloader.watching, Watching::Polling { retry_at: None }));
}

#[test]
fn watches_a_new_directory_before_it_reads_it() {
    let place = Place::with(&[("a_wsh.py", "")]);
    let mut reloader = reloader(&place, None);
    place.write("d/b_wsh.py", "b1");
    let blocked = place.loader.block("b_wsh.py");
    while !reloader.has_new_folders {
        assert_eq!(reloader.wait_until(Some(Instant::now() + TEST_LIMIT)), Woken::Events);
        reloader.notice_events();
    }
    thread::scope(|scope| {
        let reload = scope.spawn(|| reloader.reload());
        blocked.wait();
        place.write("d/c_wsh.py", "c1");
        blocked.release();
        reload.join().unwrap();
    });
    while !reloader.dirty.contains(&place.path("d/c_wsh.py")) {
        let woken = reloader.wait_until(Some(Instant::now() + TEST_LIMIT));
        assert_eq!(woken, Woken::Events, "it is not watched");
        reloader.notice_events();
    }
}

#[test]
fn an_endless_stream_of_events_does_not_put_off_the_reload() {
    let place = Place::with(&[("a_wsh.py", "")]);
    let mut reloader = reloader(&place, None);
    // Longer than the pauses that the writer makes when the machine is busy.
    reloader.delay = Duration::from_millis(20);
    let settled = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let start = Instant::now();
            while !settled.load(Ordering::Relaxed) && start.elapsed() < TEST_LIMIT {
                place.write("a_wsh.py", "x");
            }
            settled.load(Ordering::Relaxed)
        });
        assert!(reloader.settle(Instant::now()));
        settled.store(true, Ordering::Relaxed);
        assert!(flood.join().unwrap(), "it waited for the end of the events");
    });
}

#[test]
fn lost_events_cost_a_look_at_everything() {
    let watched = Watched::with(&[("a_wsh.py", "a1")]);
    let blocked = watched.place.loader.block("a_wsh.py");
    watched.replace("a_wsh.py", "a2");
    blocked.wait();
    // More than the system keeps. Two names in turn, or it would merge them.
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let count = limit.trim().parse::<usize>().unwrap();
    for _ in 0..count {
        watched.rename("a_wsh.py", "b_wsh.py");
        watched.rename("b_wsh.py", "a_wsh.py");
    }
    watched.place.write("new/c_wsh.py", "c1");
    blocked.release();
    watched.wait_served(&[("/a", "a2"), ("/new/c", "c1")]);
    watched.place.write("new/c_wsh.py", "c2");
    watched.wait_served(&[("/a", "a2"), ("/new/c", "c2")]);
}

#[test]
fn misses_nothing_that_is_saved_where_a_link_newly_leads() {
    let mut place = Place::with(&[("../one/a.py", "a1"), ("../two/a.py", "a2"), ("z_wsh.py", "z1")]);
    place.config.allow_outside_root = true;
    symlink("../one/a.py", place.path("a_wsh.py")).unwrap();
    let watched = Watched::new(place);
    watched.place.write("../three/a.py", "a3");
    let blocked = watched.place.loader.block("z_wsh.py");
    symlink("../two/a.py", watched.place.path("tmp")).unwrap();
    watched.rename("tmp", "a_wsh.py");
    watched.replace("z_wsh.py", "z2");
    blocked.wait();
    // The link's new target has been read and its directory is not watched yet.
    watched.place.write("../two/a.py", "a2 edited");
    blocked.release();
    watched.wait_served(&[("/a", "a2 edited"), ("/z", "z2")]);
    // The directory is replaced as a whole.
    watched.rename("../two", "../old");
    watched.wait_served(&[("/z", "z2")]);
    watched.rename("../three", "../two");
    watched.wait_served(&[("/a", "a3"), ("/z", "z2")]);
    watched.place.write("../two/a.py", "a4");
    watched.wait_served(&[("/a", "a4"), ("/z", "z2")]);
}

/// Shows nothing when root runs it, who may read everything.
#[test]
fn a_directory_that_may_not_be_read_is_left_out() {
    let place = Place::with(&[("a_wsh.py", "a1"), ("closed/b_wsh.py", "b"), ("open/c_wsh.py", "c1")]);
    let closed = place.path("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&closed).is_ok() {
        return;
    }
    let watched = Watched::new(place);
    let warnings = watched.registry.snapshot().warnings().to_vec();
    let expected = format!("{}: cannot be read: Permission denied", closed.display());
    assert!(warnings.len() == 1 && warnings[0].starts_with(&expected), "{warnings:?}");
    watched.place.write("a_wsh.py", "a2");
    watched.wait_served(&[("/a", "a2"), ("/open/c", "c1")]);
    watched.place.write("open/c_wsh.py", "c2");
    watched.wait_served(&[("/a", "a2"), ("/open/c", "c2")]);
    watched.place.write("open/new/d_wsh.py", "d1");
    watched.wait(|snapshot| text(snapshot, "/open/new/d").as_deref() == Some("d1"));
    watched.place.write("open/new/d_wsh.py", "d2");
    watched.wait(|snapshot| text(snapshot, "/open/new/d").as_deref() == Some("d2"));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    watched.wait(|snapshot| text(snapshot, "/closed/b").as_deref() == Some("b"));
}
