//! Files and directories below the document root: the way from a request target to what is sent.
//!
//! Must not import pyo3.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED,
    LOCATION,
};
use http::{Response, StatusCode};
use percent_encoding::{CONTROLS, percent_decode, percent_encode};

use super::body::Body;
use super::conditions::{Conditions, Verdict, Version};
use super::error_page::python_repr;
use super::head::RequestHead;
use super::listing::listing;
use super::root::Root;
use crate::platform::real_path;

/// Why a request for a file gets none, in pywebsocket's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// 404: the path leads nowhere.
    #[error("File not found")]
    NotFound,
    /// 404: a directory cannot be read.
    #[error("No permission to list directory")]
    Unreadable,
    /// 501: files take no `POST`.
    #[error("Can only POST to CGI scripts")]
    Post,
    /// 501: nobody knows this method.
    #[error("Unsupported method ({})", python_repr(.0))]
    Method(String),
}

impl FileError {
    /// The status to answer with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound | Self::Unreadable => 404,
            Self::Post | Self::Method(_) => 501,
        }
    }
}

/// The files that are served.
#[derive(Debug, Clone)]
pub struct Files {
    /// The document root.
    pub root: PathBuf,
    /// Whether a symbolic link may lead out of the root.
    pub allow_outside_root: bool,
    /// Whether handler sources (`*_wsh.py`) are as good as not there.
    pub hide_handlers: bool,
}

/// The answer to a request for a file.
#[derive(Debug)]
pub enum Answer {
    /// An error page; the connection closes.
    Page(FileError),
    /// Anything else.
    Response(Response<Body>),
}

/// What a target leads to.
#[derive(Debug)]
enum Found {
    File(OpenFile),
    /// A directory, asked for without its slash: where it is.
    Redirect(String),
    Listing(String),
    Nothing(FileError),
}

/// A file that is to be served.
#[derive(Debug)]
struct OpenFile {
    /// Its path below the root.
    path: PathBuf,
    file: File,
    metadata: Metadata,
}

impl Files {
    /// Answers `head`, whose target is a path with an optional query.
    pub async fn answer(&self, head: &RequestHead) -> Answer {
        match head.method.as_str() {
            "GET" | "HEAD" => {}
            "POST" => return Answer::Page(FileError::Post),
            method => return Answer::Page(FileError::Method(method.to_owned())),
        }
        let (files, target, conditions) = (self.clone(), head.target.clone(), Conditions::of(head));
        let is_head = head.method == "HEAD";
        // File system calls wait, so they do not run on a thread that serves others.
        let answer = tokio::task::spawn_blocking(move || match files.find(&target) {
            Found::File(file) => {
                file.answer(&conditions, is_head).unwrap_or_else(|_| Answer::Page(FileError::NotFound))
            }
            Found::Redirect(location) => with_field(StatusCode::MOVED_PERMANENTLY, LOCATION, &location, ""),
            Found::Listing(page) => {
                with_field(StatusCode::OK, CONTENT_TYPE, "text/html; charset=utf-8", page)
            }
            Found::Nothing(error) => Answer::Page(error),
        });
        answer.await.unwrap_or_else(|_| Answer::Page(FileError::NotFound))
    }

    fn find(&self, target: &str) -> Found {
        let target = target.split('#').next().unwrap_or_default();
        let (url_path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let Some(path) = relative_path(url_path) else { return Found::Nothing(FileError::NotFound) };
        let Some(metadata) = self.look(&path) else { return Found::Nothing(FileError::NotFound) };
        let file = |path| self.file(path).map_or(Found::Nothing(FileError::NotFound), Found::File);
        if !metadata.is_dir() {
            return if url_path.ends_with('/') { Found::Nothing(FileError::NotFound) } else { file(path) };
        }
        if !url_path.ends_with('/') {
            return Found::Redirect(directory_location(url_path, query));
        }
        for index in ["index.html", "index.htm"] {
            let index = path.join(index);
            // One that is there and not to be served is no reason to show the names beside it.
            if self.is_regular(&index) {
                return file(index);
            }
        }
        let is_listed = |name: &OsStr| !(self.hide_handlers && is_handler(Path::new(name)));
        let leads_to_directory =
            |name: &OsStr| self.look(&path.join(name)).is_some_and(|metadata| metadata.is_dir());
        let directory = self.root().directory(&path);
        directory
            .and_then(|directory| listing(directory, url_path, is_listed, leads_to_directory))
            .map_or(Found::Nothing(FileError::Unreadable), Found::Listing)
    }

    /// What `path` below the root leads to, unless that is nothing, lies somewhere else, or is hidden. To ask opens
    /// no pipe and no device.
    pub(super) fn look(&self, path: &Path) -> Option<Metadata> {
        let place = self.root().look(path).ok()?;
        if self.is_hidden(path, &place) { None } else { place.metadata().ok() }
    }

    /// The file `path` below the root, if it is one to be served. What is true of it stays true: it is open.
    fn file(&self, path: PathBuf) -> Option<OpenFile> {
        let (file, metadata) = self.root().file(&path).ok()?;
        (!self.is_hidden(&path, &file)).then_some(OpenFile { path, file, metadata })
    }

    /// Whether a request may not see what `path` leads to, which is open as `place`.
    fn is_hidden(&self, path: &Path, place: impl AsFd) -> bool {
        self.hide_handlers
            && (is_handler(path) || !real_path(place).is_ok_and(|real_path| !is_handler(&real_path)))
    }

    /// Whether `path` leads to a file at all, be it outside.
    fn is_regular(&self, path: &Path) -> bool {
        let anywhere = Root { allow_outside: true, ..self.root() };
        anywhere.look(path).and_then(|place| place.metadata()).is_ok_and(|metadata| metadata.is_file())
    }

    fn root(&self) -> Root<'_> {
        Root { path: &self.root, allow_outside: self.allow_outside_root }
    }
}

impl OpenFile {
    /// The answer with this file. An error: it cannot be read.
    fn answer(self, conditions: &Conditions, is_head: bool) -> io::Result<Answer> {
        let version = Version::of(&self.metadata);
        let length = version.length;
        let verdict = conditions.judge(&version);
        if verdict == Verdict::Failed {
            return Ok(Answer::Response(with_status(StatusCode::PRECONDITION_FAILED)));
        }
        let mut response = with_status(match verdict {
            Verdict::Part(_) => StatusCode::PARTIAL_CONTENT,
            Verdict::NoPart => StatusCode::RANGE_NOT_SATISFIABLE,
            Verdict::NotModified => StatusCode::NOT_MODIFIED,
            Verdict::Whole | Verdict::Failed => StatusCode::OK,
        });
        let fields = response.headers_mut();
        if matches!(verdict, Verdict::Part(_) | Verdict::Whole) {
            fields.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(&self.path)));
        }
        if verdict != Verdict::NotModified {
            fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        let known = [(LAST_MODIFIED, version.last_modified()), (ETAG, version.tag)];
        let range = match &verdict {
            Verdict::Part(range) => Some(format!("bytes {}-{}/{length}", range.start(), range.end())),
            Verdict::NoPart => Some(format!("bytes */{length}")),
            _ => None,
        };
        for (name, value) in known.into_iter().chain([(CONTENT_RANGE, range)]) {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                fields.insert(name, value);
            }
        }
        let part = match &verdict {
            Verdict::Part(range) => Some(range.clone()),
            Verdict::Whole => length.checked_sub(1).map(|last| 0..=last),
            _ => None,
        };
        if let Some(part) = part.filter(|_| !is_head) {
            *response.body_mut() = Body::part_of(self.file, part)?;
        } else if verdict == Verdict::Whole {
            fields.insert(CONTENT_LENGTH, length.into());
        }
        Ok(Answer::Response(response))
    }
}

/// What a file named `path` holds, from its ending.
fn media_type(path: &Path) -> &'static str {
    if path.extension().is_some_and(|extension| extension == "py") {
        // As Python's `mimetypes` has it; handlers are looked at in browsers.
        return "text/x-python";
    }
    mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream")
}

/// Whether `path` is named like a handler's source.
fn is_handler(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().ends_with(b"_wsh.py"))
}

/// The path below the root that `url_path` (as sent) names; `None` when a `..`, however that is written, leads
/// above the root on the way. `/` may be written as `%2F`, as in the reference.
pub(super) fn relative_path(url_path: &str) -> Option<PathBuf> {
    let sent = latin1_bytes(url_path);
    let mut path = PathBuf::new();
    for part in percent_decode(&sent).collect::<Vec<u8>>().split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if path.pop() => {}
            b".." => return None,
            _ => path.push(OsStr::from_bytes(part)),
        }
    }
    Some(path)
}

/// Where the directory `url_path` is: with a slash at its end, and with only one in front, because `//name`
/// would be another site.
fn directory_location(url_path: &str, query: &str) -> String {
    let name = url_path.trim_matches('/');
    let slash = if name.is_empty() { "" } else { "/" };
    let location = latin1_bytes(&format!("/{name}{slash}{query}"));
    percent_encode(&location, CONTROLS).to_string()
}

/// The bytes that `text` was decoded from.
fn latin1_bytes(text: &str) -> Vec<u8> {
    text.chars().filter_map(|character| u8::try_from(character).ok()).collect()
}

fn with_status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

fn with_field(status: StatusCode, name: HeaderName, value: &str, body: impl Into<Body>) -> Answer {
    let mut response = with_status(status);
    *response.body_mut() = body.into();
    match HeaderValue::from_str(value) {
        Ok(value) => {
            response.headers_mut().insert(name, value);
            Answer::Response(response)
        }
        Err(_) => Answer::Page(FileError::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A root with a file, a directory and links, inside a directory with a secret.
    fn tree() -> (tempfile::TempDir, Files) {
        let outside = tempfile::tempdir().expect("a directory");
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("dir/\u{fc}")).expect("directories");
        fs::create_dir(root.join("index")).expect("a directory");
        for file in ["../secret", "a.txt", "dir/b_wsh.py", "index/a"] {
            fs::write(root.join(file), file).expect("a file");
        }
        symlink("../secret", root.join("link")).expect("a link");
        symlink("../../secret", root.join("index/index.html")).expect("a link");
        symlink("..", root.join("up")).expect("a link");
        symlink("a.txt", root.join("inside.html")).expect("a link");
        symlink("nowhere", root.join("dangling")).expect("a link");
        (outside, Files { root, allow_outside_root: false, hide_handlers: false })
    }

    fn found_file(files: &Files, target: &str) -> Option<PathBuf> {
        match files.find(target) {
            Found::File(file) => Some(file.path),
            _ => None,
        }
    }

    fn finds_nothing(files: &Files, target: &str) -> bool {
        matches!(files.find(target), Found::Nothing(FileError::NotFound))
    }

    #[test]
    fn files_are_found() {
        let (_outside, files) = tree();
        for (target, path) in [
            ("/a.txt", "a.txt"),
            ("a.txt", "a.txt"),
            ("/dir/../a.txt", "a.txt"),
            ("/dir/%2e%2e/a.txt", "a.txt"),
            ("/a.txt?x#y", "a.txt"),
            ("/a.txt#y?x", "a.txt"),
            ("//.//a.txt", "a.txt"),
            ("/dir/../a.txt", "a.txt"),
            ("/missing/%2e%2e/a.txt", "a.txt"),
            ("/%61.txt", "a.txt"),
            ("/dir%2fb_wsh.py", "dir/b_wsh.py"),
            ("/inside.html", "inside.html"),
        ] {
            assert_eq!(found_file(&files, target).as_deref(), Some(Path::new(path)), "{target}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let (_outside, files) = tree();
        let secret = files.root.with_file_name("secret");
        let absolute = format!("/{}", secret.display());
        let encoded = absolute.replace('/', "%2f");
        for target in [
            "/../secret",
            "/..",
            "/dir/../../secret",
            "/%2e%2e/secret",
            "/%2E./secret",
            "/..%2fsecret",
            "/dir/%2e%2e%2f%2e%2e%2fsecret",
            "/..\\secret",
            "/dir%5c..%5c..%5csecret",
            "/a.txt%00",
            "/a.txt\0",
            "/link",
            "/up/secret",
            "/up/",
            "/index/",
            "/dangling",
            "/a.txt/",
            "/a.txt/b",
            "/missing",
            &absolute,
            &encoded,
        ] {
            assert!(finds_nothing(&files, target), "{target}");
        }
    }

    #[test]
    fn links_may_lead_out_when_that_is_allowed() {
        let (_outside, mut files) = tree();
        files.allow_outside_root = true;
        for (target, path) in
            [("/link", "link"), ("/up/secret", "up/secret"), ("/index/", "index/index.html")]
        {
            assert_eq!(found_file(&files, target).as_deref(), Some(Path::new(path)), "{target}");
        }
        assert!(finds_nothing(&files, "/../secret"));
    }

    #[test]
    fn directories_get_their_slash() {
        let (_outside, files) = tree();
        for (target, location) in [
            ("/dir", "/dir/"),
            ("/dir?a=b", "/dir/?a=b"),
            ("//dir", "/dir/"),
            ("/dir/\u{c3}\u{bc}", "/dir/%C3%BC/"),
            ("?x", "/?x"),
        ] {
            assert!(matches!(files.find(target), Found::Redirect(found) if found == location), "{target}");
        }
        assert!(matches!(files.find("/dir/"), Found::Listing(page) if page.contains("b_wsh.py")));
    }

    #[test]
    fn special_files_are_not_opened() {
        let (_outside, files) = tree();
        let _socket = std::os::unix::net::UnixListener::bind(files.root.join("socket")).expect("a socket");
        assert!(finds_nothing(&files, "/socket"));
    }
}
