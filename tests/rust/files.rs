//! Files over HTTP/1.1.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Server, field, without_server_and_date};

#[test]
fn a_file() {
    let server = Server::start();
    server.write("a.html", "hello");
    let response = server.get("/a.html?x#y");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\nServer: wshost/"), "{response}");
    assert_eq!(field(&response, "content-type"), Some("text/html"));
    assert_eq!(field(&response, "content-length"), Some("5"));
    assert_eq!(field(&response, "connection"), Some("close"));
    assert!(response.ends_with("\r\n\r\nhello"), "{response}");
}

#[test]
fn a_large_file_comes_whole() {
    let server = Server::start();
    let content = (0..300_000).fold(String::new(), |text, number| text + &number.to_string());
    server.write("large", &content);
    let response = server.get("/large");
    assert!(response.split_once("\r\n\r\n").expect("a head").1 == content);
}

#[test]
fn handler_files_are_files_too() {
    let server = Server::start();
    server.write("echo_wsh.py", "import six\n");
    assert!(server.get("/echo_wsh.py").ends_with("import six\n"));
}

#[test]
fn http10_and_http09() {
    let server = Server::start();
    server.write("a.txt", "hello");
    let response = server.ask("GET /a.txt HTTP/1.0\r\n\r\n");
    assert_eq!(field(&response, "connection"), Some("close"));
    assert_eq!(server.ask("GET /a.txt\r\n\r\n"), "hello");
}

#[test]
fn a_missing_file_gets_the_reference_page() {
    let server = Server::start();
    let response = server.get("/missing");
    let (head, page) = response.split_once("\r\n\r\n").expect("a head");
    assert_eq!(
        without_server_and_date(&format!("{head}\r\n\r\n")),
        "HTTP/1.0 404 File not found\r\nServer\r\nDate\r\nConnection: close\r\n\
         Content-Type: text/html;charset=utf-8\r\nContent-Length: 335\r\n\r\n"
    );
    assert_eq!(page.len(), 335);
    let response = server.ask("HEAD /missing HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(response.ends_with("Content-Length: 335\r\n\r\n"), "{response}");
}

#[test]
fn no_way_out_of_the_root() {
    let server = Server::start();
    let outside = tempfile::tempdir().expect("a directory");
    let secret = outside.path().join("secret");
    fs::write(&secret, "SECRET").expect("a file");
    symlink(&secret, server.root.path().join("link")).expect("a link");
    symlink(outside.path(), server.root.path().join("up")).expect("a link");
    let directory = outside.path().file_name().expect("a name").to_str().expect("UTF-8");
    for target in [
        format!("/../{directory}/secret"),
        format!("/%2e%2e/{directory}/secret"),
        format!("/..%2f{directory}%2Fsecret"),
        format!("/..\\{directory}\\secret"),
        format!("/..%5c{directory}%5csecret"),
        format!("/{}", secret.display()),
        format!("/%2f{}", secret.display()),
        format!("{}%00", secret.display()),
        format!("ws://h/../{directory}/secret"),
        format!("file://{}", secret.display()),
        "/link".to_owned(),
        "/up/secret".to_owned(),
        "/up/".to_owned(),
        "/up".to_owned(),
    ] {
        let response = server.get(&target);
        assert!(response.starts_with("HTTP/1.0 404 File not found\r\n"), "{target}: {response}");
        assert!(!response.contains("SECRET"), "{target}");
    }
}

/// Swaps two names until it is dropped.
struct Swapping(std::sync::Arc<std::sync::atomic::AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Swapping {
    fn start(one: std::path::PathBuf, other: std::path::PathBuf) -> Self {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use std::sync::atomic::Ordering;
        let ends = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let is_over = std::sync::Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("swapped");
            }
        });
        Self(ends, Some(thread))
    }
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        self.1.take().expect("a thread").join().expect("no panic");
    }
}

/// What was looked at is what is served: names that are swapped all the time lead to a file outside, to a pipe that
/// nobody writes, and to a folder outside.
#[test]
fn what_is_swapped_meanwhile_is_not_served() {
    let server = Server::start_with(|config| config.hide_handlers = true);
    let outside = tempfile::tempdir().expect("a directory");
    fs::create_dir(outside.path().join("SECRET-folder")).expect("a directory");
    fs::write(outside.path().join("SECRET"), "SECRET").expect("a file");
    fs::write(outside.path().join("index.html"), "SECRET").expect("a file");
    server.write("file", "public");
    server.write("piped", "public");
    server.write("link", "public");
    server.write("below/SECRET", "public");
    server.write("below/index.html", "public");
    server.write("source_wsh.py", "SECRET");
    let path = |name: &str| server.root.path().join(name);
    symlink(outside.path().join("SECRET"), path("file.other")).expect("a link");
    rustix::fs::mknodat(rustix::fs::CWD, path("piped.other"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .expect("a pipe");
    symlink(outside.path(), path("below.other")).expect("a link");
    symlink("source_wsh.py", path("link.other")).expect("a link");
    let names = ["file", "piped", "below", "link"];
    let swaps = names.map(|name| Swapping::start(path(name), path(&format!("{name}.other"))));
    let mut answers = 0;
    for _ in 0..1_000 {
        for target in ["/file", "/piped", "/below/SECRET", "/below/", "/link"] {
            // Should a thread wait for the pipe, so does this until its time is up.
            let response = server.get(target);
            assert!(!response.contains("SECRET"), "{target}: {response}");
            answers += usize::from(response.ends_with("public"));
        }
    }
    drop(swaps);
    assert!(answers > 0, "nothing was ever served");
}

#[test]
fn links_lead_out_when_that_is_allowed() {
    let server = Server::start_with(|config| config.handlers.allow_outside_root = true);
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("a"), "outside").expect("a file");
    symlink(outside.path(), server.root.path().join("up")).expect("a link");
    assert!(server.get("/up/a").ends_with("\r\n\r\noutside"));
}

#[test]
fn head_has_no_body_and_keeps_the_connection() {
    let server = Server::start();
    server.write("a.txt", "hello");
    let mut client = server.connect();
    client.send("HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(field(&client.head(), "content-length"), Some("5"));
    client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().1, "hello");
}

#[test]
fn ranges() {
    let server = Server::start();
    server.write("a.txt", "0123456789");
    for (range, status, content_range, body) in [
        ("bytes=2-4", "206 Partial Content", Some("bytes 2-4/10"), "234"),
        ("bytes=-2", "206 Partial Content", Some("bytes 8-9/10"), "89"),
        ("bytes=-200", "206 Partial Content", Some("bytes 0-9/10"), "0123456789"),
        ("BYTES=0-1", "206 Partial Content", Some("bytes 0-1/10"), "01"),
        ("bytes=20-", "416 Range Not Satisfiable", Some("bytes */10"), ""),
        ("bytes=0-1,3-4", "200 OK", None, "0123456789"),
    ] {
        let request =
            format!("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: {range}\r\nConnection: close\r\n\r\n");
        let response = server.ask(request);
        assert!(response.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{response}");
        assert_eq!(field(&response, "content-range"), content_range);
        assert!(response.ends_with(&format!("\r\n\r\n{body}")), "{response}");
    }
}

#[test]
fn nothing_is_a_part_of_an_empty_file() {
    let server = Server::start();
    server.write("empty", "");
    for range in ["0-", "-5", "0-0"] {
        let response = server.ask(format!(
            "GET /empty HTTP/1.1\r\nHost: a\r\nRange: bytes={range}\r\nConnection: close\r\n\r\n"
        ));
        assert!(response.starts_with("HTTP/1.1 416 "), "{range}: {response}");
        assert_eq!(field(&response, "content-range"), Some("bytes */0"));
    }
    assert_eq!(field(&server.get("/empty"), "content-length"), Some("0"));
}

/// An HTTP date says nothing before 1970 and after 9999.
#[test]
fn files_of_other_times_are_served() {
    let server = Server::start();
    for (name, seconds) in [("before", -1_i64), ("after", 253_402_300_800)] {
        let path = server.write(name, "hello");
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty()).expect("a time");
        let is_kept = fs::metadata(&path).expect("a file").modified().is_ok_and(|modified| {
            let since = modified.duration_since(std::time::UNIX_EPOCH);
            since.map_or(-1, |since| since.as_secs().cast_signed()) == seconds
        });
        let response = server.get(&format!("/{name}"));
        assert!(response.ends_with("\r\n\r\nhello"), "{response}");
        // Not each file system has such times.
        assert!(!is_kept || field(&response, "last-modified").is_none(), "{response}");
    }
}

#[test]
fn what_was_not_modified_is_not_sent() {
    let server = Server::start();
    server.write("a.txt", "hello");
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    let modified = field(&client.response().0, "last-modified").expect("a date").to_owned();
    client.send(format!("GET /a.txt HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: {modified}\r\n\r\n"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 304 Not Modified\r\n"), "{head}");
    client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n\r\n");
    assert_eq!(client.response().1, "hello");
}

#[test]
fn directories() {
    let server = Server::start();
    server.write("dir/\u{fc} <b>.txt", "");
    server.write("dir/sub/a", "");
    server.write("index/index.html", "the index");
    let mut client = server.connect();
    client.send("GET /dir?a=b HTTP/1.1\r\nHost: a\r\n\r\n");
    let (head, _) = client.response();
    assert!(head.starts_with("HTTP/1.1 301 Moved Permanently\r\n"), "{head}");
    assert_eq!(field(&head, "location"), Some("/dir/?a=b"));
    client.send("GET /dir/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let (head, page) = client.response();
    assert_eq!(field(&head, "content-type"), Some("text/html; charset=utf-8"));
    assert!(page.contains("<a href=\"sub/\">sub/</a>"), "{page}");
    assert!(page.contains("<a href=\"%C3%BC%20%3Cb%3E.txt\">\u{fc} &lt;b&gt;.txt</a>"), "{page}");
    client.send("GET /dir/%C3%BC%20%3Cb%3E.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.response().0.starts_with("HTTP/1.1 200 OK\r\n"));
    client.send("GET /index/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let (head, page) = client.response();
    assert_eq!((field(&head, "content-type"), page.as_str()), (Some("text/html"), "the index"));
}

#[test]
fn other_methods() {
    let server = Server::start();
    for (request, reason) in [
        ("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "Unsupported method ('PUT')"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "Unsupported method ('OPTIONS')"),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", "Unsupported method ('get')"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "Can only POST to CGI scripts"),
    ] {
        let response = server.ask(request);
        assert!(response.starts_with(&format!("HTTP/1.0 501 {reason}\r\n")), "{response}");
    }
}

#[test]
fn a_refused_client_may_finish_its_body() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    assert!(client.response().0.starts_with("HTTP/1.0 501 "));
    // Were our side gone, the first of these would bring a reset and the second fail.
    client.send("abc");
    client.send("def");
    assert_eq!(client.rest(), "");
}

#[test]
fn request_bodies_are_read_past_or_end_the_connection() {
    let server = Server::start();
    server.write("a.txt", "hello");
    let mut client = server.connect();
    let body = "x".repeat(60_000);
    client.send(format!("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{body}"));
    assert_eq!(client.response().1, "hello");
    client.send(
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let response = client.rest();
    assert_eq!(field(&response, "connection"), Some("close"));
    assert!(response.ends_with("\r\n\r\nhello"), "{response}");
}

#[test]
fn an_absolute_websocket_uri_without_a_handler_is_a_file() {
    let server = Server::start();
    server.write("a.txt", "hello");
    assert!(server.get("ws://localhost:9998/a.txt").ends_with("\r\n\r\nhello"));
    assert!(server.get("ws://localhost:x/a.txt").starts_with("HTTP/1.0 404 "));
}

#[test]
fn doubtful_bodies_are_refused_before_they_are_requests() {
    let server = Server::start();
    server.write("a.txt", "hello");
    let smuggled = "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    for (fields, status) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: 0, 5\r\n", 400),
        ("Content-Length : 5\r\n", 400),
        ("Content-Length:\u{b}5\r\n", 400),
        ("Content-Length: 5\u{c}\r\n", 400),
        ("Host: a\r\n", 400),
        ("A: b\rContent-Length: 5\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
    ] {
        let response = server.ask(format!("GET /a.txt HTTP/1.1\r\nHost: a\r\n{fields}\r\n{smuggled}"));
        assert!(response.starts_with(&format!("HTTP/1.0 {status} ")), "{fields:?}: {response}");
        assert!(!response.contains("hello"), "{fields:?}: {response}");
    }
}

#[test]
fn what_unicode_calls_space_is_no_space() {
    let server = Server::start();
    server.write("a.txt", "hello");
    for space in [0x85, 0xa0] {
        let mut request = b"GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5".to_vec();
        request.push(space);
        request.extend_from_slice(b"\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = server.ask(request);
        assert!(response.starts_with("HTTP/1.0 400 Bad Content-Length\r\n"), "{response}");
        assert!(!response.contains("hello"), "{response}");
    }
}

#[test]
fn http11_names_its_host() {
    let server = Server::start();
    server.write("a.txt", "hello");
    for (fields, message) in
        [("", "No Host"), ("Host: a\r\nHost: b\r\n", "Bad Host"), ("Host: a/b\r\n", "Bad Host")]
    {
        let response = server.ask(format!("GET /a.txt HTTP/1.1\r\n{fields}\r\n"));
        assert!(response.starts_with(&format!("HTTP/1.0 400 {message}\r\n")), "{response}");
    }
}

#[test]
fn entity_tags() {
    let server = Server::start();
    server.write("a.txt", "0123456789");
    let response = server.get("/a.txt");
    let tag = field(&response, "etag").expect("a tag");
    let modified = field(&response, "last-modified").expect("a date");
    for (fields, status) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {modified}\r\n"), 200),
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("Range: bytes=1-2\r\nIf-Range: {tag}\r\n"), 206),
        (format!("Range: bytes=1-2\r\nIf-Range: {modified}\r\n"), 206),
        ("Range: bytes=1-2\r\nIf-Range: \"x\"\r\n".to_owned(), 200),
        ("Range: bytes=1-2\r\nIf-Range: Sat, 01 Jan 2000 00:00:00 GMT\r\n".to_owned(), 200),
    ] {
        let response =
            server.ask(format!("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"));
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {response}");
        let body = response.split_once("\r\n\r\n").expect("a head").1;
        assert_eq!(
            body,
            match status {
                200 => "0123456789",
                206 => "12",
                _ => "",
            },
            "{fields}"
        );
    }
}

#[test]
fn ranges_are_for_get_and_in_bytes() {
    let server = Server::start();
    server.write("a.txt", "0123456789");
    for (method, range) in [("GET", "lines=1-2"), ("HEAD", "bytes=1-2")] {
        let request =
            format!("{method} /a.txt HTTP/1.1\r\nHost: a\r\nRange: {range}\r\nConnection: close\r\n\r\n");
        let response = server.ask(request);
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert_eq!(field(&response, "content-length"), Some("10"));
    }
}

#[test]
fn handler_sources_are_hidden_when_that_is_wanted() {
    let server = Server::start_with(|config| config.hide_handlers = true);
    let source = server.write("dir/echo_wsh.py", "import six\n");
    server.write("dir/other.py", "");
    symlink(source, server.root.path().join("dir/link.txt")).expect("a link");
    for target in ["/dir/echo_wsh.py", "/dir/echo%5fwsh.py?x", "/dir/link.txt"] {
        assert!(server.get(target).starts_with("HTTP/1.0 404 File not found\r\n"), "{target}");
    }
    let page = server.get("/dir/");
    assert!(page.contains("other.py") && !page.contains("echo_wsh.py"), "{page}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    server.write("a.txt", "first");
    server.write("b.txt", "second");
    let mut client = server.connect();
    client.send(
        "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\nHEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /b.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.response().1, "first");
    assert_eq!(field(&client.head(), "content-length"), Some("5"));
    assert!(client.rest().ends_with("\r\n\r\nsecond"), "what is behind a close is not answered");
}
