//! The watches on real files and the system's own events.

use std::fs;
use std::sync::mpsc::{self, Receiver};

use super::super::testing::{Place, TEST_LIMIT};
use super::*;

struct Watched {
    watches: Watches,
    woken: Receiver<()>,
    place: Place,
}

impl Watched {
    fn new(place: Place) -> Self {
        let (wake, woken) = mpsc::channel();
        let wake = move || {
            let _ = wake.send(());
        };
        Self { watches: Watches::open(&place.root, false, wake).unwrap(), woken, place }
    }

    /// The events up to the first one that `is_last`.
    fn until(&mut self, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut all = Vec::new();
        while !all.iter().any(&is_last) {
            let woken = self.woken.recv_timeout(TEST_LIMIT);
            assert!(woken.is_ok(), "no more events after {all:?}");
            self.watches.read(|event| all.push(event));
        }
        all
    }

    /// The names in the events up to the one about the file `last`, which is written now.
    fn names_until(&mut self, last: &str) -> Vec<String> {
        self.place.write(last, "");
        let end = self.place.path(last);
        let events = self.until(|event| matches!(event, Event::Changed { path, .. } if *path == end));
        let name = |event: &Event| {
            let Event::Changed { path, .. } = event else { panic!("{event:?}") };
            path.strip_prefix(&self.place.root).unwrap_or(path).display().to_string()
        };
        events.iter().map(name).collect()
    }
}

#[test]
fn reading_is_no_event() {
    let mut watched = Watched::new(Place::with(&[("a/b.py", "b")]));
    for _ in 0..3 {
        fs::read(watched.place.path("a/b.py")).unwrap();
        fs::read_dir(watched.place.path("a")).unwrap().for_each(drop);
    }
    let names = watched.names_until("a/end");
    assert!(names.iter().all(|name| name == "a/end"), "{names:?}");
}

#[test]
fn what_is_in_a_new_folder_makes_events_once_it_has_caught_up() {
    let mut watched = Watched::new(Place::with(&[("x", "")]));
    for number in 0..50 {
        watched.place.write(&format!("new{number}/deep/x"), "");
        let folder = watched.place.path(&format!("new{number}"));
        watched.until(|event| matches!(event, Event::Changed { path, .. } if *path == folder));
        watched.watches.catch_up();
        watched.names_until(&format!("new{number}/deep/end"));
    }
}

#[test]
fn a_folder_that_was_moved_is_known_by_its_new_name() {
    let mut watched = Watched::new(Place::with(&[("old/deep/x", ""), ("other/x", "")]));
    fs::rename(watched.place.path("old"), watched.place.path("other/new")).unwrap();
    let folder = watched.place.path("other/new");
    watched.until(|event| matches!(event, Event::Changed { path, .. } if *path == folder));
    watched.watches.catch_up();
    watched.names_until("other/new/deep/end");
    fs::rename(watched.place.path("other"), watched.place.path("../away")).unwrap();
    watched.names_until("end");
    watched.place.write("../away/new/deep/x", "y");
    let names = watched.names_until("end2");
    assert!(names.iter().all(|name| !name.contains("deep")), "{names:?}");
}

#[test]
fn a_file_that_is_written_under_another_name_makes_an_event() {
    let mut watched = Watched::new(Place::with(&[("a_wsh.py", ""), ("../far/x", "")]));
    let (file, other) = (watched.place.path("a_wsh.py"), watched.place.path("../far/other"));
    let inputs = Inputs { files: vec![file.clone()], outside: Vec::new() };
    fs::hard_link(&file, &other).unwrap();
    let parent = watched.place.root.parent().unwrap().to_owned();
    assert_eq!(watched.watches.follow(&inputs).unwrap().unwrap(), [parent, file.clone()]);
    assert_eq!(watched.watches.follow(&inputs).unwrap().unwrap(), [] as [PathBuf; 0], "known");
    let is_file = |event: &Event| matches!(event, Event::Changed { path, .. } if *path == file);
    watched.place.write("../far/other", "1");
    watched.until(is_file);
    // Another file in its place, which keeps its other name.
    fs::rename(&file, watched.place.path("../far/old")).unwrap();
    fs::rename(&other, watched.place.path("../far/third")).unwrap();
    watched.place.write("a_wsh.py", "2");
    fs::hard_link(&file, &other).unwrap();
    watched.until(is_file);
    while !watched.watches.follow(&inputs).unwrap().unwrap().is_empty() {}
    watched.names_until("end");
    watched.place.write("../far/other", "3");
    watched.until(is_file);
}

#[test]
fn of_two_names_of_a_file_both_make_an_event() {
    let mut watched = Watched::new(Place::with(&[("a_wsh.py", ""), ("../far/x", "")]));
    let (a, b) = (watched.place.path("a_wsh.py"), watched.place.path("b_wsh.py"));
    let third = watched.place.path("../far/c");
    fs::hard_link(&a, &b).unwrap();
    fs::hard_link(&a, &third).unwrap();
    watched.names_until("end");
    watched.watches.follow(&Inputs { files: vec![a.clone(), b.clone()], outside: Vec::new() }).unwrap();
    for file in [a, b] {
        fs::write(&third, "1").unwrap();
        watched.until(|event| matches!(event, Event::Changed { path, .. } if *path == file));
    }
}

#[test]
fn watches_are_made_anew_when_many_have_to_end() {
    let place = Place::with(&[]);
    let files: Vec<PathBuf> = (0..=MANY).map(|number| place.path(&format!("a{number}_wsh.py"))).collect();
    for path in &files {
        fs::write(path, "").unwrap();
    }
    let mut watched = Watched::new(place);
    let mut follow = |files: &[PathBuf]| {
        let inputs = Inputs { files: files.to_vec(), outside: Vec::new() };
        watched.watches.follow(&inputs).unwrap().is_some()
    };
    assert!(follow(&files));
    assert!(!follow(&[]));
}

#[test]
fn the_watcher_ends_when_many_folders_go() {
    let place = Place::with(&[]);
    for number in 0..2000 {
        place.write(&format!("big/{number}/x"), "");
    }
    let mut watched = Watched::new(place);
    fs::remove_dir_all(watched.place.path("big")).unwrap();
    let events = watched.until(|event| *event == Event::Storm);
    assert_eq!(events.last(), Some(&Event::Storm), "nothing comes after it");
    let threads = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            .filter(|task| {
                fs::read_to_string(task.path().join("comm")).is_ok_and(|n| n.starts_with("notify-rs"))
            })
            .count()
    };
    let before = threads();
    drop(watched);
    let deadline = std::time::Instant::now() + TEST_LIMIT;
    while threads() >= before && before > 0 {
        assert!(std::time::Instant::now() < deadline, "its thread goes on");
        std::thread::yield_now();
    }
}

#[test]
fn says_why_it_cannot_watch() {
    let limit = Refused::of(&notify::Error::new(notify::ErrorKind::MaxFilesWatch)).unwrap();
    assert!(limit.reason.contains("raise fs.inotify.max_user_watches") && !limit.is_passing);
    let used_up = Refused::of(&notify::Error::io(std::io::Error::from_raw_os_error(libc::EMFILE))).unwrap();
    assert!(used_up.reason.contains("ulimit -n") && used_up.is_passing, "{}", used_up.reason);
    assert!(Refused::of(&notify::Error::io(std::io::Error::from_raw_os_error(libc::EACCES))).is_none());
}

#[test]
fn the_watcher_ends_also_when_somebody_waits_for_it() {
    let place = Place::with(&[]);
    for number in 0..200 {
        place.write(&format!("big/{number}/x"), "");
    }
    let mut watched = Watched::new(place);
    let waiting = Arc::clone(&watched.watches.mailbox);
    let waiting = waiting.waiting();
    fs::remove_dir_all(watched.place.path("big")).unwrap();
    watched.until(|event| *event == Event::Storm);
    let deadline = std::time::Instant::now() + TEST_LIMIT;
    while !watched.watches.mailbox.has_died() {
        assert!(std::time::Instant::now() < deadline, "it goes on");
        std::thread::yield_now();
    }
    drop(waiting);
    // Nobody answers any more, and nobody hangs.
    watched.watches.catch_up();
    let inputs = Inputs { files: vec![watched.place.path("a_wsh.py")], outside: Vec::new() };
    watched.place.write("a_wsh.py", "");
    watched.watches.follow(&inputs).unwrap();
}
