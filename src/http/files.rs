//! Files and directories below the document root. tower-http reads and answers for the files (types, ranges,
//! conditions); what lies here is the way from a request target to a path, and that it does not leave the root.
//!
//! Must not import pyo3.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use percent_encoding::{CONTROLS, percent_decode, percent_encode};
use tower_http::services::ServeFile;

use super::error_page::python_repr;
use super::head::RequestHead;
use super::listing::listing;
use super::response::{Body, full};

/// pywebsocket's words for a path that leads nowhere.
const NOT_FOUND: &str = "File not found";

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
    Page {
        /// The status.
        status: u16,
        /// The reason phrase.
        message: String,
    },
    /// Anything else.
    Response(Response<Body>),
}

impl Answer {
    fn page(status: u16, message: impl Into<String>) -> Self {
        Self::Page { status, message: message.into() }
    }
}

/// What a target leads to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    File(PathBuf),
    /// A directory, asked for without its slash: where it is.
    Redirect(String),
    Listing(String),
    /// Nothing, and the words for it.
    Nothing(&'static str),
}

impl Files {
    /// Answers `head`, whose target is a path with an optional query.
    pub async fn answer(&self, head: &RequestHead) -> Answer {
        match head.method.as_str() {
            "GET" | "HEAD" => {}
            "POST" => return Answer::page(501, "Can only POST to CGI scripts"),
            method => return Answer::page(501, format!("Unsupported method ({})", python_repr(method))),
        }
        let (files, target) = (self.clone(), head.target.clone());
        // File system calls wait, so they do not run on a thread that serves others.
        let found = tokio::task::spawn_blocking(move || files.find(&target)).await;
        match found.unwrap_or(Found::Nothing(NOT_FOUND)) {
            Found::File(path) => file(&path, head).await.unwrap_or_else(|_| Answer::page(404, NOT_FOUND)),
            Found::Redirect(location) => with_field(StatusCode::MOVED_PERMANENTLY, LOCATION, &location, ""),
            Found::Listing(page) => {
                with_field(StatusCode::OK, CONTENT_TYPE, "text/html; charset=utf-8", page)
            }
            Found::Nothing(message) => Answer::page(404, message),
        }
    }

    fn find(&self, target: &str) -> Found {
        let target = target.split('#').next().unwrap_or_default();
        let (url_path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let Some(path) = relative_path(url_path).and_then(|path| self.allowed(&path)) else {
            return Found::Nothing(NOT_FOUND);
        };
        if !path.is_dir() {
            // A FIFO or a device would wait for ever.
            return if path.is_file() && !url_path.ends_with('/') {
                Found::File(path)
            } else {
                Found::Nothing(NOT_FOUND)
            };
        }
        if !url_path.ends_with('/') {
            return Found::Redirect(directory_location(url_path, query));
        }
        for index in ["index.html", "index.htm"] {
            if path.join(index).is_file() {
                return self.allowed(&path.join(index)).map_or(Found::Nothing(NOT_FOUND), Found::File);
            }
        }
        let is_listed = |name: &OsStr| !(self.hide_handlers && is_handler(Path::new(name)));
        listing(&path, url_path, is_listed)
            .map_or(Found::Nothing("No permission to list directory"), Found::Listing)
    }

    /// `path` below the root, unless it does not exist, really lies somewhere else, or is hidden.
    pub(super) fn allowed(&self, path: &Path) -> Option<PathBuf> {
        let path = self.root.join(path);
        let real_path = fs::canonicalize(&path).ok()?;
        if self.hide_handlers && (is_handler(&path) || is_handler(&real_path)) {
            return None;
        }
        let is_inside = || Some(real_path.starts_with(fs::canonicalize(&self.root).ok()?));
        (self.allow_outside_root || is_inside()?).then_some(path)
    }
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

/// Where the directory `url_path` is: with a slash behind it, and with only one in front, because `//name`
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

/// tower-http's answer for the file `path`.
async fn file(path: &Path, head: &RequestHead) -> io::Result<Answer> {
    let mut request = Request::new(Empty::<bytes::Bytes>::new());
    if head.method == "HEAD" {
        *request.method_mut() = http::Method::HEAD;
    }
    for (name, value) in &head.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value.trim())) {
            request.headers_mut().append(name, value);
        }
    }
    // RFC 9110 section 14.2: ranges are for GET, and those in other units than bytes must be ignored.
    let is_bytes = |range: &HeaderValue| range.as_bytes().to_ascii_lowercase().starts_with(b"bytes=");
    if request.method() != http::Method::GET || !request.headers().get(RANGE).is_some_and(is_bytes) {
        request.headers_mut().remove(RANGE);
    }
    // The same section: a server may ignore ranges. Several at once would need multipart bodies.
    let mut service = ServeFile::new(path).ignore_multi_range_requests(true);
    let mut response = service.try_call(request.clone()).await?;
    // Section 13.1.5, which tower-http leaves out: a part of another version is of no use.
    let condition = request.headers().get(IF_RANGE).cloned();
    if let Some(condition) = condition.filter(|_| request.headers_mut().remove(RANGE).is_some()) {
        let headers = response.headers();
        let is_current = [ETAG, LAST_MODIFIED].iter().any(|name| headers.get(name) == Some(&condition));
        if !is_current {
            response = service.try_call(request).await?;
        }
    }
    if path.extension().is_some_and(|extension| extension == "py")
        && response.headers().contains_key(CONTENT_TYPE)
    {
        // As Python's `mimetypes` has it; handlers are looked at in browsers.
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/x-python"));
    }
    Ok(Answer::Response(response.map(BodyExt::boxed_unsync)))
}

fn with_field(status: StatusCode, name: HeaderName, value: &str, body: impl Into<bytes::Bytes>) -> Answer {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    match HeaderValue::from_str(value) {
        Ok(value) => {
            response.headers_mut().insert(name, value);
            Answer::Response(response)
        }
        Err(_) => Answer::page(404, NOT_FOUND),
    }
}

#[cfg(test)]
mod tests {
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
            Found::File(path) => Some(path.strip_prefix(&files.root).expect("below the root").to_owned()),
            _ => None,
        }
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
            assert_eq!(files.find(target), Found::Nothing(NOT_FOUND), "{target}");
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
        assert_eq!(files.find("/../secret"), Found::Nothing(NOT_FOUND));
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
            assert_eq!(files.find(target), Found::Redirect(location.to_owned()), "{target}");
        }
        assert!(matches!(files.find("/dir/"), Found::Listing(page) if page.contains("b_wsh.py")));
    }

    #[test]
    fn special_files_are_not_opened() {
        let (_outside, files) = tree();
        let _socket = std::os::unix::net::UnixListener::bind(files.root.join("socket")).expect("a socket");
        assert_eq!(files.find("/socket"), Found::Nothing(NOT_FOUND));
    }
}
