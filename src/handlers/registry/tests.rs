//! The registry on real files, with a loader without Python.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::thread;
use std::time::SystemTime;

use super::super::digest::digest;
use super::super::file_state::{self, Examined};
use super::super::map_file::MapProblem;
use super::super::testing::{Place, StubLoader, TEST_LIMIT, served, text};
use super::*;

fn start_error(config: &HandlersConfig) -> StartError {
    Registry::open(config, StubLoader::default()).err().expect("it opened")
}

fn failed_paths(report: &ReloadReport) -> Vec<&Path> {
    report.failed.iter().map(|(path, _)| path.as_path()).collect()
}

#[test]
fn refuses_what_it_cannot_read() {
    let place = Place::with(&[("a_wsh.py", "a"), ("sub/b_wsh.py", "b"), ("../map.txt", "")]);
    let base = &place.config;
    let file = place.path("a_wsh.py");
    let (none, sub) = (place.path("none"), place.path("sub"));
    let with = |root: &Path, scan: &Path, map: Option<&Path>| HandlersConfig {
        root: root.to_owned(),
        scan: scan.to_owned(),
        map_file: map.map(Path::to_owned),
        ..base.clone()
    };
    let table = [
        (with(&none, &none, None), "--websock-handlers", &none),
        (with(&file, &file, None), "--websock-handlers", &file),
        (with(&place.root, &none, None), "--scan-dir", &none),
        (with(&place.root, &file, None), "--scan-dir", &file),
        (with(&place.root, &place.root, Some(&none)), MAP_FILE_OPTION, &none),
        (with(&place.root, &place.root, Some(&sub)), MAP_FILE_OPTION, &sub),
    ];
    for (config, option, path) in table {
        let text = start_error(&config).to_string();
        assert!(text.starts_with(&format!("{option} {}: ", path.display())), "{text}");
    }
    let text = start_error(&with(&sub, &place.root, None)).to_string();
    assert!(text.contains("must be a directory under --websock-handlers"), "{text}");
}

#[test]
fn serves_what_lies_below_the_scan_directory_by_its_place_below_the_root() {
    let place = Place::with(&[("a_wsh.py", "a"), ("sub/b_wsh.py", "b"), ("sub/C_WSH.PY", "c")]);
    let snapshot = place.open().snapshot();
    assert_eq!(served(&snapshot), [("/a", "a"), ("/sub/b", "b")]);
    assert_eq!(place.loader.loads(), 3, "a file without a resource is run, too");
    assert_eq!(snapshot.generation(), 1);
    let config = HandlersConfig { scan: place.path("sub"), ..place.config.clone() };
    let snapshot =
        Registry::open(&config, StubLoader::default()).unwrap_or_else(|e| panic!("{e}")).snapshot();
    assert_eq!(served(&snapshot), [("/sub/b", "b")]);
}

#[test]
fn resolves_without_the_query_and_refuses_fragments_where_there_is_a_handler() {
    let snapshot = Place::with(&[("a_wsh.py", "a")]).open().snapshot();
    assert_eq!(text(&snapshot, "/a?x=1"), Some("a".to_owned()));
    assert_eq!(text(&snapshot, "/a#"), Some("a".to_owned()));
    assert!(snapshot.resolve("/a#x").is_err());
    assert_eq!(text(&snapshot, "/b#x"), None);
    assert_eq!(text(&snapshot, "/a/"), None);
}

#[test]
fn a_file_that_fails_at_the_start_is_a_warning_and_no_handler() {
    let place = Place::with(&[("a_wsh.py", "a"), ("b_wsh.py", "FAIL no reason")]);
    symlink("nowhere", place.path("c_wsh.py")).unwrap();
    let registry = place.open();
    let snapshot = registry.snapshot();
    assert_eq!(served(&snapshot), [("/a", "a")]);
    let [b, c] = snapshot.warnings() else { panic!("{:?}", snapshot.warnings()) };
    assert_eq!(*b, format!("{}: FAIL no reason\nTraceback: line 1", place.path("b_wsh.py").display()));
    assert!(c.starts_with(&format!("{}: is a symbolic link", place.path("c_wsh.py").display())), "{c}");
    let loads = place.loader.loads();
    assert!(registry.refresh().is_empty(), "a failure is reported once");
    assert_eq!(place.loader.loads(), loads);
}

#[test]
fn publishes_what_changed_and_nothing_else() {
    let place = Place::with(&[("a_wsh.py", "a1"), ("b_wsh.py", "b1"), ("c_wsh.py", "c1")]);
    let registry = place.open();
    let before = registry.snapshot();
    assert!(registry.refresh().is_empty());
    assert!(Arc::ptr_eq(&before, &registry.snapshot()));

    place.write("a_wsh.py", "a2");
    place.write("n/d_wsh.py", "d1");
    fs::remove_file(place.path("c_wsh.py")).unwrap();
    let report = registry.refresh();
    assert_eq!(report.changed, ["/a"]);
    assert_eq!(report.added, ["/n/d"]);
    assert_eq!(report.removed, ["/c"]);
    assert_eq!(failed_paths(&report), [] as [&Path; 0]);
    let after = registry.snapshot();
    assert_eq!(served(&after), [("/a", "a2"), ("/b", "b1"), ("/n/d", "d1")]);
    assert_eq!(after.generation(), before.generation() + 1);
    assert!(Arc::ptr_eq(&before.handlers["/b"], &after.handlers["/b"]));
    assert_eq!((before.handlers["/a"].version, after.handlers["/a"].version), (1, 2));
    assert_eq!(after.handlers["/a"].digest, digest(b"a2"));
    assert_eq!(served(&before), [("/a", "a1"), ("/b", "b1"), ("/c", "c1")], "a snapshot never changes");
}

#[test]
fn notices_changes_that_leave_size_and_time_alone() {
    let place = Place::with(&[("a_wsh.py", "0000")]);
    let registry = place.open();
    let time = SystemTime::UNIX_EPOCH;
    for i in 1..100 {
        // In place: the same inode, within one tick of the file system's clock.
        place.write("a_wsh.py", &format!("{i:04}"));
        File::options().write(true).open(place.path("a_wsh.py")).unwrap().set_modified(time).unwrap();
        assert_eq!(registry.refresh().changed, ["/a"], "{i}");
    }
}

#[test]
fn a_touched_file_is_not_loaded_again_unless_it_failed() {
    let place = Place::with(&[("a_wsh.py", "a"), ("b_wsh.py", "FAIL")]);
    let registry = place.open();
    let touch = |name: &str, seconds: u64| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().write(true).open(place.path(name)).unwrap().set_modified(time).unwrap();
    };
    touch("a_wsh.py", 1);
    assert!(registry.refresh().is_empty());
    assert_eq!(place.loader.loads(), 2);
    touch("b_wsh.py", 1);
    assert_eq!(failed_paths(&registry.refresh()), [place.path("b_wsh.py")]);
    assert_eq!(place.loader.loads(), 3);
}

#[test]
fn a_failing_file_keeps_its_last_good_version() {
    let place = Place::with(&[("a_wsh.py", "a1")]);
    let registry = place.open();
    let good = registry.snapshot();
    place.write("a_wsh.py", "FAIL a2");
    let report = registry.refresh();
    assert_eq!(failed_paths(&report), [place.path("a_wsh.py")]);
    assert_eq!(report.changed, [] as [&str; 0]);
    let bad = registry.snapshot();
    let handler = &bad.handlers["/a"];
    assert!(Arc::ptr_eq(&handler.suite, &good.handlers["/a"].suite));
    assert_eq!(handler.error.as_ref().unwrap().message, "FAIL a2");
    assert_eq!(bad.warnings().len(), 1);

    place.write("a_wsh.py", "a3");
    assert_eq!(registry.refresh().changed, ["/a"]);
    let repaired = registry.snapshot();
    assert_eq!(served(&repaired), [("/a", "a3")]);
    assert!(repaired.handlers["/a"].error.is_none());
    assert_eq!(repaired.handlers["/a"].version, 2);
    assert!(repaired.warnings().is_empty());
}

#[test]
fn a_file_that_cannot_be_looked_at_keeps_its_last_good_version() {
    let place = Place::with(&[("a_wsh.py", "a1")]);
    let registry = place.open();
    fs::remove_file(place.path("a_wsh.py")).unwrap();
    // A link to itself: the one thing that root cannot look at either.
    symlink("a_wsh.py", place.path("a_wsh.py")).unwrap();
    let report = registry.refresh();
    assert_eq!(failed_paths(&report), [place.path("a_wsh.py")]);
    assert!(report.failed[0].1.message.starts_with("cannot be read: "), "{:?}", report.failed);
    let snapshot = registry.snapshot();
    assert_eq!(served(&snapshot), [("/a", "a1")]);
    assert!(snapshot.handlers["/a"].error.is_some());
    assert!(registry.refresh().is_empty());
    assert!(Arc::ptr_eq(&snapshot, &registry.snapshot()));
}

#[test]
fn a_link_without_a_target_serves_nothing() {
    let place = Place::with(&[("real.py", "a")]);
    symlink("real.py", place.path("a_wsh.py")).unwrap();
    let registry = place.open();
    assert_eq!(served(&registry.snapshot()), [("/a", "a")]);
    assert_eq!(registry.inputs().outside, [place.path("real.py")]);
    fs::remove_file(place.path("real.py")).unwrap();
    let report = registry.refresh();
    assert_eq!((report.removed, report.failed.len()), (vec!["/a".to_owned()], 1));
    assert!(registry.refresh().is_empty());
    place.write("real.py", "a");
    assert_eq!(registry.refresh().added, ["/a"]);
}

#[test]
fn aliases_follow_their_handlers_and_the_map_file() {
    let mut place =
        Place::with(&[("a_wsh.py", "a1"), ("b_wsh.py", "b1"), ("../map.txt", "/ /a\n/x /\n/b /a\n")]);
    place.config.map_file = Some(place.path("../map.txt"));
    let registry = place.open();
    let all = |text| [("/", text), ("/a", text), ("/b", text), ("/x", text)];
    assert_eq!(served(&registry.snapshot()), all("a1"));
    place.write("a_wsh.py", "a2");
    assert_eq!(registry.refresh().changed, ["/", "/a", "/b", "/x"]);
    assert_eq!(served(&registry.snapshot()), all("a2"));

    place.write("../map.txt", "/x /b\nwrong\n/y /none\n");
    let report = registry.refresh();
    assert_eq!((report.added, report.removed), (vec![], vec!["/".to_owned()]));
    assert_eq!(report.changed, ["/b", "/x"]);
    let map = place.path("../map.txt").display().to_string();
    let [MapProblem::Line(line), MapProblem::Target(target)] = &report.map_problems[..] else {
        panic!("{:?}", report.map_problems)
    };
    assert!(line.starts_with(&format!("Wrong format in map file: {map}:2: ")), "{line}");
    assert!(target.starts_with(&format!("{map}:3: No handler for: '/none'")), "{target}");
    assert_eq!(registry.snapshot().map_problems(), report.map_problems);
    assert!(registry.refresh().is_empty(), "a problem is reported once");

    fs::remove_file(place.path("../map.txt")).unwrap();
    assert_eq!(failed_paths(&registry.refresh()), [place.path("../map.txt")]);
    assert_eq!(text(&registry.snapshot(), "/x").as_deref(), Some("b1"), "the aliases stay");
    assert!(registry.refresh().is_empty());

    // What has no end, or waits for somebody, is not read.
    std::os::unix::fs::symlink("/dev/zero", place.path("../map.txt")).unwrap();
    assert_eq!(failed_paths(&registry.refresh()), [place.path("../map.txt")]);
    assert_eq!(text(&registry.snapshot(), "/x").as_deref(), Some("b1"));
}

#[test]
fn aliases_that_were_added_outlive_reloads() {
    let place = Place::with(&[("a_wsh.py", "a1")]);
    let registry = place.open();
    assert!(!registry.add_alias("/x", "/none"));
    assert!(registry.add_alias("/x", "/a"));
    assert_eq!(text(&registry.snapshot(), "/x").as_deref(), Some("a1"));
    place.write("a_wsh.py", "a2");
    registry.refresh();
    assert_eq!(text(&registry.snapshot(), "/x").as_deref(), Some("a2"));
    let snapshot = registry.snapshot();
    assert!(snapshot.with_alias("/y", "/none").is_none());
    let more = snapshot.with_alias("/y", "/a").unwrap();
    assert_eq!((text(&more, "/y").as_deref(), text(&snapshot, "/y")), (Some("a2"), None));
}

#[test]
fn a_blocked_load_blocks_neither_readers_nor_aliases_but_the_next_refresh() {
    let place = Place::with(&[("a_wsh.py", "a1")]);
    let registry = place.open();
    place.write("a_wsh.py", "a2");
    let blocked = place.loader.block("a_wsh.py");
    thread::scope(|scope| {
        let refreshes = [(); 2].map(|()| scope.spawn(|| registry.refresh()));
        blocked.wait();
        assert_eq!(text(&registry.snapshot(), "/a").as_deref(), Some("a1"));
        assert!(registry.add_alias("/x", "/a"));
        assert_eq!(text(&registry.snapshot(), "/x").as_deref(), Some("a1"));
        blocked.release();
        let changed: usize = refreshes.map(|refresh| refresh.join().unwrap().changed.len()).iter().sum();
        assert_eq!(changed, 2, "/a and /x, by one refresh of the two");
    });
    assert_eq!(text(&registry.snapshot(), "/x").as_deref(), Some("a2"));
    assert_eq!(place.loader.loads(), 2);
}

#[test]
fn a_new_file_waits_for_a_helper_that_is_being_renewed() {
    let place = Place::with(&[("a_wsh.py", "a needs h.py"), ("h.py", "1")]);
    let registry = place.open();
    place.write("h.py", "2");
    place.write("b_wsh.py", "b needs h.py");
    let blocked = place.loader.block("h.py");
    registry.refresh();
    blocked.wait();
    // What it imports is known only now that it has been loaded, with the old helper.
    assert_eq!((text(&registry.snapshot(), "/b"), place.loader.loads()), (None, 2));
    let before = registry.snapshot().generation;
    blocked.release();
    let after = registry.wait_for_generation(before + 1, TEST_LIMIT).expect("a refresh");
    assert_eq!(text(&after, "/b").as_deref(), Some("b needs h.py"));
    assert_eq!(place.loader.loads(), 4, "both again");
}

#[test]
fn a_file_that_came_too_early_is_loaded_when_its_helper_is_done_before_the_others() {
    let place = Place::with(&[("a_wsh.py", "a needs h.py"), ("h.py", "1")]);
    let registry = place.open();
    place.write("h.py", "2");
    place.write("b_wsh.py", "b");
    let helper = place.loader.block("h.py");
    let other = place.loader.block("b_wsh.py");
    thread::scope(|scope| {
        scope.spawn(|| registry.refresh());
        // The helper was set aside, and `a` did not wait for it.
        other.wait();
        helper.release();
        let after = registry.wait_for_generation(2, TEST_LIMIT).expect("a is not loaded again");
        assert_eq!(served(&after), [("/a", "a needs h.py")], "b is still being loaded");
    });
    assert_eq!(place.loader.loads(), 3);
    other.release();
}

#[test]
fn a_file_whose_helper_is_renewed_while_it_is_loaded_is_loaded_again() {
    let place = Place::with(&[("a_wsh.py", "a needs h.py"), ("h.py", "1")]);
    let registry = place.open();
    place.write("b_wsh.py", "b needs h.py");
    let blocked = place.loader.block("b_wsh.py");
    registry.refresh();
    blocked.wait();
    place.write("h.py", "2");
    registry.refresh();
    let (before, loads) = (registry.snapshot().generation, place.loader.loads());
    blocked.release();
    let after = registry.wait_for_generation(before + 1, TEST_LIMIT).expect("a refresh");
    assert_eq!(text(&after, "/b").as_deref(), Some("b needs h.py"));
    assert_eq!(place.loader.loads(), loads + 1, "b again");
}

#[test]
fn a_load_that_begins_after_its_helper_has_changed_since_it_was_ordered_is_done_again() {
    let place = Place::with(&[("a_wsh.py", "a needs h.py"), ("h.py", "1")]);
    let registry = place.open();
    place.write("b_wsh.py", "b needs h.py");
    let path = place.path("b_wsh.py");
    // As when the thread of the load does not get to run before it is set aside.
    let load = {
        let mut files = registry.files.lock();
        let candidate = registry.tree.lock().candidate(&path).unwrap();
        match file_state::examine(candidate, None, false) {
            Examined::Load(load) => {
                files.loading.runs_on(0, Running::of(&load));
                load
            }
            _ => panic!("nothing to load"),
        }
    };
    place.write("h.py", "2");
    registry.refresh();
    let loads = place.loader.loads();
    let finished = Finished::run(load, 0, &place.loader);
    registry.came_late(path, finished);
    assert_eq!(text(&registry.snapshot(), "/b").as_deref(), Some("b needs h.py"));
    assert_eq!(place.loader.loads(), loads + 2, "it may have the old helper");
}

#[test]
fn a_helper_that_changed_since_another_running_load_may_have_imported_it_is_renewed() {
    let place = Place::with(&[("h.py", "1")]);
    let registry = place.open();
    place.write("a_wsh.py", "a needs h.py");
    let blocked = place.loader.block("a_wsh.py");
    registry.refresh();
    blocked.wait();
    // `a` may have imported it, and `b` gets what `a` has.
    place.write("h.py", "2");
    place.write("b_wsh.py", "b needs h.py");
    let order = SystemTime::now() + Duration::from_secs(1);
    let mut files = registry.files.lock();
    let candidate = registry.tree.lock().candidate(&place.path("b_wsh.py")).unwrap();
    let Examined::Load(mut load) = file_state::examine(candidate, None, false) else { panic!("no load") };
    // Long after the helper was saved.
    load.since = order;
    let finished = Finished::run(load, 0, &place.loader);
    files.take_in(place.path("b_wsh.py"), finished, &mut ReloadReport::default());
    assert_eq!(files.helpers.take_changed().files, [place.path("h.py")]);
    drop(files);
    blocked.release();
}

#[test]
fn refreshes_never_overlap() {
    let place = Place::with(&[("a_wsh.py", "0")]);
    let registry = place.open();
    thread::scope(|scope| {
        for writer in 0..4 {
            let (place, registry) = (&place, &registry);
            scope.spawn(move || {
                for i in 0..25 {
                    place.write(&format!("f{writer}_wsh.py"), &format!("{writer} {i}"));
                    registry.refresh();
                    let served = text(&registry.snapshot(), &format!("/f{writer}"));
                    assert_eq!(served, Some(format!("{writer} {i}")));
                }
            });
        }
    });
    assert_eq!(place.loader.overlaps(), 0);
}

#[test]
fn a_file_that_is_back_by_the_end_of_a_refresh_was_never_gone() {
    let place = Place::with(&[("a_wsh.py", "a"), ("b_wsh.py", "b1")]);
    let registry = place.open();
    let before = registry.snapshot();
    fs::remove_file(place.path("a_wsh.py")).unwrap();
    place.write("b_wsh.py", "b2");
    let blocked = place.loader.block("b_wsh.py");
    thread::scope(|scope| {
        let refresh = scope.spawn(|| registry.refresh());
        blocked.wait();
        place.write("a_wsh.py", "a");
        blocked.release();
        let report = refresh.join().unwrap();
        assert_eq!((report.changed, report.removed), (vec!["/b".to_owned()], vec![]));
    });
    assert!(Arc::ptr_eq(&before.handlers["/a"], &registry.snapshot().handlers["/a"]));
}

#[test]
fn a_file_that_changes_while_it_is_loaded_is_loaded_again() {
    let place = Place::with(&[("a_wsh.py", "a1")]);
    let blocked = place.loader.block("a_wsh.py");
    let registry = thread::scope(|scope| {
        let open = scope.spawn(|| place.open());
        blocked.wait();
        place.write("a_wsh.py", "a2");
        blocked.release();
        open.join().unwrap()
    });
    registry.refresh();
    let snapshot = registry.snapshot();
    assert_eq!(served(&snapshot), [("/a", "a2")]);
    assert_eq!(snapshot.handlers["/a"].digest, digest(b"a2"));
    assert_eq!(place.loader.loads(), 2);
    assert!(registry.refresh().is_empty());
}

#[test]
fn waits_for_a_generation() {
    let place = Place::with(&[("a_wsh.py", "a1")]);
    let registry = place.open();
    assert!(registry.wait_for_generation(2, Duration::ZERO).is_none());
    place.write("a_wsh.py", "a2");
    thread::scope(|scope| {
        let wait = scope.spawn(|| registry.wait_for_generation(2, TEST_LIMIT));
        registry.refresh();
        assert_eq!(served(&wait.join().unwrap().unwrap()), [("/a", "a2")]);
    });
}
