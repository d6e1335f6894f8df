//! Which file serves which resource, and which files count: the rules of pywebsocket's `dispatch.py`.
//!
//! Knows paths and file metadata, runs nothing. Must not import pyo3, tokio or the rest of the crate beyond
//! the configuration and the errors.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Component, Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::config::HandlersConfig;
use crate::error::StartError;

/// What the name of a handler file ends with.
pub const SUFFIX: &str = "_wsh.py";

/// More links in a row than this are a loop (Linux gives up after 40, too).
const MAX_LINKS: usize = 40;

/// Whether a file of this name is looked at. pywebsocket: case does not matter here, though only the exact
/// [`SUFFIX`] makes a resource; such a file is run and serves nothing.
///
/// Not looked at, against pywebsocket: `.#name_wsh.py`, which Emacs makes as a dangling link while a file has
/// unsaved changes. No request could name it, since `#` begins a fragment.
#[must_use]
pub fn is_handler_name(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let Some(start) = name.len().checked_sub(SUFFIX.len()) else { return false };
    name[start..].eq_ignore_ascii_case(SUFFIX.as_bytes()) && !name.starts_with(b".#")
}

/// The key under which a request target is looked up, and whether the target has a fragment that counts.
///
/// pywebsocket: the fragment goes first, then the query; an empty fragment (`/echo#`) is none.
#[must_use]
pub fn lookup_key(resource: &str) -> (&str, bool) {
    let (resource, fragment) = resource.split_once('#').unwrap_or((resource, ""));
    let path = resource.split_once('?').map_or(resource, |(path, _)| path);
    (path, !fragment.is_empty())
}

/// What tells without reading it that a file is not the one seen before. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: i128,
    /// Of the inode: moves also when the modification time is set back (`cp -p`, `rsync -t`).
    changed: i128,
}

impl Stamp {
    /// Of the file that has this.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// When the file was last touched, in nanoseconds since 1970.
    pub(super) fn touched(&self) -> i128 {
        self.modified.max(self.changed)
    }
}

/// A file that may hold a handler.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Where it was found, under the canonical scan directory.
    pub(super) path: PathBuf,
    /// What it serves; `None` when its name makes no resource.
    pub(super) resource: Option<String>,
    /// If it is a symbolic link: every place on the way that it leads.
    pub(super) links: Vec<PathBuf>,
    /// What the path leads to.
    pub(super) content: Content,
}

/// What a candidate's path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A regular file.
    File(Stamp),
    /// Something that the system does not let us look at, and why.
    Unreadable(String),
    /// Nothing that could ever be run, and why.
    Nothing(String),
    /// Nothing, but a link that leads to where a file may be in a moment; and what that means.
    Away(String),
}

/// What `--websock-handlers` and `--scan-dir` name, from the root of the file system on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Directories {
    root: PathBuf,
    scan: PathBuf,
}

/// What a look at the tree finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) candidates: Vec<Candidate>,
    /// The directories that could not be read, with the reason.
    pub(super) unreadable: Vec<(PathBuf, String)>,
    /// Whether some could not be read at this moment.
    pub(super) is_incomplete: bool,
}

/// The directories that handlers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerTree {
    /// The two directories as they were named; links on the way to them may be switched.
    named: Directories,
    /// Resources are counted from here. In canonical form.
    root: PathBuf,
    /// Files are looked for from here; `root` or below it. In canonical form.
    scan: PathBuf,
    /// Whether links to files outside `root` count.
    allow_outside_root: bool,
}

impl HandlerTree {
    /// Resolves and checks the directories that `config` names.
    ///
    /// pywebsocket compares the two as strings, so that it takes `/srv/ab` for a directory under `/srv/a`, and
    /// serves nothing when a directory is missing; both are errors here.
    pub fn open(config: &HandlersConfig) -> Result<Self, StartError> {
        let root = directory("--websock-handlers", &config.root)?;
        let (option, scan) = if config.scan == config.root {
            ("--websock-handlers", root.clone())
        } else {
            ("--scan-dir", directory("--scan-dir", &config.scan)?)
        };
        if !scan.starts_with(&root) {
            return Err(StartError::ScanOutsideRoot { scan, root });
        }
        let fail = |source| StartError::Directory { option, path: scan.clone(), source };
        fs::read_dir(&scan).map_err(fail)?;
        let named = Directories {
            root: path::absolute(&config.root).map_err(fail)?,
            scan: path::absolute(&config.scan).map_err(fail)?,
        };
        Ok(Self { named, root, scan, allow_outside_root: config.allow_outside_root })
    }

    /// The tree that the same names lead to now; `None`: the same one, or none at all.
    pub(super) fn switched(&self) -> Option<Self> {
        let root = fs::canonicalize(&self.named.root).ok()?;
        let scan = fs::canonicalize(&self.named.scan).ok()?;
        let other = Self { root, scan, ..self.clone() };
        (other != *self && other.scan.starts_with(&other.root) && other.scan.is_dir()).then_some(other)
    }

    /// Every link on the ways to the two directories.
    pub(super) fn links(&self) -> Vec<PathBuf> {
        let mut links = [way(&self.named.root), way(&self.named.scan)].concat();
        links.retain(|place| *place != self.root && *place != self.scan);
        links
    }

    /// The directory that files are looked for in, in canonical form.
    #[must_use]
    pub fn scan_dir(&self) -> &Path {
        &self.scan
    }

    /// Every candidate, the files of a directory before its subdirectories, by name; and the directories that
    /// could not be read, with the reason.
    ///
    /// pywebsocket: links to files count, links to directories are not followed.
    pub(super) fn scan(&self) -> Found {
        self.scan_below(&self.scan)
    }

    /// As [`Self::scan`], below one directory only.
    pub(super) fn scan_below(&self, directory: &Path) -> Found {
        let files_first = |a: &DirEntry, b: &DirEntry| {
            (a.file_type().is_dir(), a.file_name()).cmp(&(b.file_type().is_dir(), b.file_name()))
        };
        let mut found = Found::default();
        for entry in WalkDir::new(directory).follow_links(false).sort_by(files_first) {
            match entry {
                Ok(entry) if is_handler_name(entry.file_name()) => {
                    found.candidates.extend(self.candidate(entry.path()));
                }
                Ok(_) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(directory).to_owned();
                    // What went away while we looked is no trouble.
                    match plain(error) {
                        source if source.kind() == io::ErrorKind::NotFound => {}
                        source if is_shortage(&source) => found.is_incomplete = true,
                        source => found.unreadable.push((path, cannot_be_read(&source))),
                    }
                }
            }
        }
        found
    }

    /// What is at `path` now; `None` when nothing is, or a directory, or a file that must not count.
    pub(super) fn candidate(&self, path: &Path) -> Option<Candidate> {
        let (links, content) = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => return None,
            Ok(metadata) if metadata.is_symlink() => {
                if !self.allow_outside_root
                    && fs::canonicalize(path).is_ok_and(|p| !p.starts_with(&self.root))
                {
                    tracing::debug!("Canonical path of {} is not under root directory", path.display());
                    return None;
                }
                (way(path).split_off(1), link_content(path)?)
            }
            Ok(metadata) => (Vec::new(), file_content(&metadata)),
            Err(error) if is_absent(&error) => return None,
            Err(error) => (Vec::new(), Content::Unreadable(cannot_be_read(&error))),
        };
        Some(Candidate { resource: resource_of(&self.root, path), path: path.to_owned(), links, content })
    }
}

/// The resource that the file `path` serves when resources count from `root`; `None`: it serves none.
///
/// pywebsocket: only the exact [`SUFFIX`] counts, and a backslash in a name is a separator. With the root `/`,
/// pywebsocket gives resources without a leading slash, which no request can name; here they have it.
#[must_use]
pub fn resource_of(root: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(root).ok()?.to_str()?;
    let stem = relative.strip_suffix(SUFFIX)?;
    Some(format!("/{}", stem.replace('\\', "/")))
}

/// The canonical form of a directory that `option` names.
fn directory(option: &'static str, path: &Path) -> Result<PathBuf, StartError> {
    let fail = |source| StartError::Directory { option, path: path.to_owned(), source };
    let canonical = fs::canonicalize(path).map_err(fail)?;
    if !fs::metadata(&canonical).map_err(fail)?.is_dir() {
        return Err(fail(io::ErrorKind::NotADirectory.into()));
    }
    Ok(canonical)
}

/// What the symbolic link `path` leads to; `None` for a directory.
fn link_content(path: &Path) -> Option<Content> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(metadata) => Some(file_content(&metadata)),
        Err(error) if is_absent(&error) => Some(Content::Away(
            "is a symbolic link to a file that is not there; repair or remove the link".to_owned(),
        )),
        Err(error) => Some(Content::Unreadable(cannot_be_read(&error))),
    }
}

fn file_content(metadata: &Metadata) -> Content {
    if metadata.is_file() {
        Content::File(Stamp::of(metadata))
    } else {
        // Opening a pipe or a device could wait for ever.
        Content::Nothing("is not a regular file; remove or rename it".to_owned())
    }
}

/// Whether `error` says that there is no such file.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The text for a file or directory that the system does not let us read.
pub(super) fn cannot_be_read(error: &io::Error) -> String {
    let help = if is_shortage(error) {
        "it is tried again (raise ulimit -n)"
    } else if error.raw_os_error().is_none() {
        "put source text there"
    } else {
        "check its permissions"
    };
    format!("cannot be read: {error}; {help}")
}

/// Whether `error` says that the system has nothing left to read files with at this moment.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// Whether files cannot be opened at this moment, whatever they are.
pub(super) fn is_short_of_descriptors() -> bool {
    fs::File::open("/").is_err_and(|error| is_shortage(&error))
}

/// What the system said, without what walkdir puts around it.
fn plain(error: walkdir::Error) -> io::Error {
    let code = error.io_error().and_then(io::Error::raw_os_error);
    code.map_or_else(|| error.into(), io::Error::from_raw_os_error)
}

/// Every place that the way along `path` leads through: each symbolic link on it, be it in the middle or at its end, and
/// where it ends. Their folders are canonical as far as they exist, so that the places are those that the file
/// watcher reports.
pub(super) fn way(path: &Path) -> Vec<PathBuf> {
    let mut way = Vec::new();
    let mut here = PathBuf::new();
    let mut rest: Vec<PathBuf> = steps(path);
    while let Some(step) = rest.pop() {
        if step.as_os_str() == ".." {
            here.pop();
            continue;
        }
        // One that begins with a slash begins anew.
        here.push(step);
        let Ok(target) = fs::read_link(&here) else { continue };
        way.push(here.clone());
        if way.len() == MAX_LINKS {
            return way;
        }
        here.pop();
        rest.extend(steps(&target));
    }
    way.push(here);
    way
}

/// The parts of a path, the last one first.
fn steps(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.map(|part| PathBuf::from(part.as_os_str())).rev().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::testing::Place;
    use super::*;

    #[test]
    fn handler_names_end_with_the_suffix_in_any_case() {
        for name in ["a_wsh.py", "_wsh.py", "A_WSH.PY", "a_Wsh.Py", ".a_wsh.py"] {
            assert!(is_handler_name(OsStr::new(name)), "{name}");
        }
        for name in ["a.py", "wsh.py", "a_wsh.pyc", "a_wsh.py~", ".a_wsh.py.swp", ".#a_wsh.py", ""] {
            assert!(!is_handler_name(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn the_key_has_neither_query_nor_fragment() {
        let table = [
            ("/a", "/a", false),
            ("/a?b", "/a", false),
            ("/a?b?c", "/a", false),
            ("/a#", "/a", false),
            ("/a#b", "/a", true),
            ("/a?b#c", "/a", true),
            ("/a#b?c", "/a", true),
            ("/a?#", "/a", false),
            ("/a##", "/a", true),
            ("", "", false),
        ];
        for (resource, key, fragment) in table {
            assert_eq!(lookup_key(resource), (key, fragment), "{resource}");
        }
    }

    #[test]
    fn the_resource_is_the_path_below_the_root() {
        let table = [
            ("/r", "/r/a_wsh.py", Some("/a")),
            ("/r", "/r/b/c_wsh.py", Some("/b/c")),
            ("/r", "/r/_wsh.py", Some("/")),
            ("/r", "/r/b/_wsh.py", Some("/b/")),
            ("/r", r"/r/b\c_wsh.py", Some("/b/c")),
            ("/r", "/r/é_wsh.py", Some("/é")),
            ("/r", "/r/a_WSH.py", None),
            ("/r", "/ra/b_wsh.py", None),
            ("/", "/a_wsh.py", Some("/a")),
            ("/", "/b/c_wsh.py", Some("/b/c")),
        ];
        for (root, path, resource) in table {
            let found = resource_of(Path::new(root), Path::new(path));
            assert_eq!(found.as_deref(), resource, "{root} {path}");
        }
        assert_eq!(resource_of(Path::new("/r"), Path::new(OsStr::from_bytes(b"/r/\xff_wsh.py"))), None);
    }

    #[test]
    fn a_stamp_has_both_times_in_nanoseconds() {
        let place = Place::with(&[("a_wsh.py", "")]);
        let file = fs::File::options().write(true).open(place.path("a_wsh.py")).unwrap();
        let stamp = |modified: Duration| {
            file.set_modified(UNIX_EPOCH + modified).unwrap();
            Stamp::of(&file.metadata().unwrap())
        };
        let past = stamp(Duration::new(3, 7));
        assert_eq!(past.modified, 3_000_000_007);
        assert_eq!(past.touched(), past.changed, "now, though the time was set back");
        assert!(past.changed > 1_700_000_000_000_000_000);
        let future = stamp(Duration::new(4_000_000_000, 9));
        assert_eq!(future.touched(), 4_000_000_000_000_000_009);
    }

    #[test]
    fn looks_below_the_scan_directory_and_counts_from_the_root() {
        let place = Place::with(&[("a_wsh.py", ""), ("sub/b_wsh.py", "")]);
        let config = HandlersConfig { scan: place.path("sub"), ..place.config.clone() };
        let tree = HandlerTree::open(&config).unwrap();
        assert_eq!(tree.scan_dir(), place.path("sub"));
        let Found { candidates, .. } = tree.scan();
        let resources: Vec<_> = candidates.iter().map(|found| found.resource.as_deref()).collect();
        assert_eq!(resources, [Some("/sub/b")]);
    }

    #[test]
    fn says_which_option_names_no_directory() {
        let place = Place::with(&[("file", "")]);
        for (root, scan, named) in [
            ("file", "file", "--websock-handlers"),
            ("gone", "gone", "--websock-handlers"),
            (".", "file", "--scan-dir"),
            (".", "gone", "--scan-dir"),
        ] {
            let config =
                HandlersConfig { root: place.path(root), scan: place.path(scan), ..place.config.clone() };
            let error = HandlerTree::open(&config).unwrap_err();
            assert!(
                matches!(&error, StartError::Directory { option, .. } if *option == named),
                "{root} {scan}: {error}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_but_what_is_not_there_is_not() {
        let place = Place::with(&[("plain.py", "")]);
        let tree = HandlerTree::open(&place.config).unwrap();
        let Found { candidates, unreadable, .. } = tree.scan_below(&place.path("gone"));
        assert!(candidates.is_empty() && unreadable.is_empty(), "{unreadable:?}");
        let inside = place.path("plain.py/inside");
        let Found { candidates, unreadable, .. } = tree.scan_below(&inside);
        assert!(candidates.is_empty());
        let reason = "cannot be read: Not a directory (os error 20); check its permissions".to_owned();
        assert_eq!(unreadable, [(inside, reason)]);
    }

    #[test]
    fn a_candidate_is_there_and_no_directory() {
        let place = Place::with(&[("dir_wsh.py/x", ""), ("plain.py", "")]);
        let tree = HandlerTree::open(&place.config).unwrap();
        for name in ["dir_wsh.py", "gone_wsh.py", "plain.py/a_wsh.py"] {
            assert!(tree.candidate(&place.path(name)).is_none(), "{name}");
        }
        let too_long = place.path(&format!("{}_wsh.py", "x".repeat(300)));
        symlink("loop_wsh.py", place.path("loop_wsh.py")).unwrap();
        for path in [too_long, place.path("loop_wsh.py")] {
            let content = tree.candidate(&path).unwrap().content;
            assert!(matches!(content, Content::Unreadable(_)), "{}: {content:?}", path.display());
        }
    }

    fn found(place: &Place) -> Vec<(String, &'static str)> {
        let Found { candidates, unreadable, .. } = HandlerTree::open(&place.config).unwrap().scan();
        assert_eq!(unreadable, []);
        let kind = |content: &Content| match content {
            Content::File(_) => "file",
            Content::Unreadable(_) => "unreadable",
            Content::Nothing(_) | Content::Away(_) => "nothing",
        };
        let name = |path: &Path| path.strip_prefix(&place.root).unwrap().display().to_string();
        candidates.iter().map(|c| (name(&c.path), kind(&c.content))).collect()
    }

    #[test]
    fn finds_files_first_and_by_name() {
        let place = Place::with(&[
            ("b_wsh.py", ""),
            ("a/z_wsh.py", ""),
            ("a/a/y_wsh.py", ""),
            ("A_WSH.PY", ""),
            ("c/x.py", ""),
        ]);
        let names: Vec<_> = found(&place).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["A_WSH.PY", "b_wsh.py", "a/z_wsh.py", "a/a/y_wsh.py"]);
    }

    #[test]
    fn follows_links_to_files_but_not_to_directories() {
        let place = Place::with(&[("in/a_wsh.py", ""), ("../out/b_wsh.py", ""), ("in/plain.py", "")]);
        symlink("in", place.path("linked")).unwrap();
        symlink("in", place.path("dir_wsh.py")).unwrap();
        symlink("in/plain.py", place.path("inside_wsh.py")).unwrap();
        symlink("../out/b_wsh.py", place.path("outside_wsh.py")).unwrap();
        symlink("nowhere", place.path("broken_wsh.py")).unwrap();
        let inside = [("broken_wsh.py", "nothing"), ("inside_wsh.py", "file"), ("in/a_wsh.py", "file")];
        let inside = inside.map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(found(&place), inside);
        let mut open = place;
        open.config.allow_outside_root = true;
        assert!(found(&open).contains(&("outside_wsh.py".to_owned(), "file")));
    }

    #[test]
    fn a_sibling_whose_name_begins_alike_is_outside() {
        let place = Place::with(&[("../handlers2/b_wsh.py", "")]);
        symlink("../handlers2/b_wsh.py", place.path("b_wsh.py")).unwrap();
        assert_eq!(found(&place), []);
        let config = HandlersConfig { scan: place.path("../handlers2"), ..place.config.clone() };
        let error = HandlerTree::open(&config).unwrap_err();
        assert!(matches!(error, StartError::ScanOutsideRoot { .. }), "{error}");
    }

    #[test]
    fn does_not_open_what_is_no_regular_file() {
        let place = Place::with(&[]);
        let _socket = std::os::unix::net::UnixListener::bind(place.path("s_wsh.py")).unwrap();
        assert_eq!(found(&place), [("s_wsh.py".to_owned(), "nothing")]);
    }

    #[test]
    fn tells_every_link_on_a_way_and_its_end() {
        let place = Place::with(&[("../real/c", ""), ("../far/x", "")]);
        symlink("../real/b", place.path("a_wsh.py")).unwrap();
        symlink(place.path("../alias").join("c"), place.path("../real/b")).unwrap();
        symlink("real", place.path("../alias")).unwrap();
        let links = ["a_wsh.py", "../real/b", "../alias", "../real/c"].map(|name| place.path(name));
        assert_eq!(way(&place.path("a_wsh.py")), links);
        symlink("../alias/../gone/./away/c", place.path("gone_wsh.py")).unwrap();
        let gone = ["gone_wsh.py", "../alias", "../gone/away/c"].map(|name| place.path(name));
        assert_eq!(way(&place.path("gone_wsh.py")), gone);
        symlink("loop", place.path("loop")).unwrap();
        assert_eq!(way(&place.path("loop")).len(), MAX_LINKS);
        assert_eq!(way(&place.path("../real/c")), [place.path("../real/c")]);
        assert_eq!(way(Path::new("/")), [Path::new("/")]);
    }

    #[test]
    fn a_tree_whose_link_is_switched_is_another_one() {
        let mut place = Place::with(&[("../one/h/a_wsh.py", ""), ("../two/h/a_wsh.py", "")]);
        symlink("one", place.path("../current")).unwrap();
        place.config.root = place.path("../current/h");
        place.config.scan = place.path("../current/h");
        let tree = HandlerTree::open(&place.config).unwrap();
        assert_eq!(tree.scan_dir(), place.path("../one/h"));
        assert!(tree.switched().is_none());
        assert_eq!(tree.links(), [place.path("../current"), place.path("../current")]);
        fs::remove_file(place.path("../current")).unwrap();
        assert!(tree.switched().is_none(), "there is none");
        symlink("two", place.path("../current")).unwrap();
        assert_eq!(tree.switched().unwrap().scan_dir(), place.path("../two/h"));
    }
}
