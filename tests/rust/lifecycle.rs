//! From the start to the end of a server: readiness, stop, signals, too many connections.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use tempfile::TempDir;
use wshost::server::{self, Listeners};

use crate::support::{Server, StubHost, config, connect, field};

#[test]
fn a_stop_ends_idle_connections_and_the_server() {
    let server = Server::start();
    server.write("a.txt", "hello");
    let mut idle = server.connect();
    idle.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.response();
    let mut partial = server.connect();
    partial.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\nGET /a.t");
    partial.response();
    server.stop.cancel();
    assert_eq!(idle.rest(), "");
    assert_eq!(partial.rest(), "");
    let port = server.port;
    server.join().expect("a clean end");
    TcpStream::connect(("127.0.0.1", port)).expect_err("nobody listens");
}

/// More than the buffers of two sockets hold.
const LARGE: usize = 64 << 20;

fn write_large_file(path: &Path) {
    std::fs::File::create(path).and_then(|file| file.set_len(LARGE as u64)).expect("a file");
}

#[test]
fn a_stop_waits_for_a_response() {
    let server = Server::start();
    write_large_file(&server.root.path().join("large"));
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(field(&client.head(), "content-length"), Some(LARGE.to_string().as_str()));
    server.stop.cancel();
    let ended = std::thread::spawn(move || server.join());
    let mut body = Vec::new();
    client.0.read_to_end(&mut body).expect("the end of the connection");
    assert_eq!(body.len(), LARGE);
    ended.join().expect("no panic").expect("a clean end");
}

#[test]
fn a_stop_waits_no_longer_than_the_grace() {
    let server = Server::start_with(|config| config.grace = Duration::from_millis(1));
    write_large_file(&server.root.path().join("large"));
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    server.stop.cancel();
    server.join().expect("a clean end");
}

#[test]
fn a_stop_does_not_wait_for_handlers() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("GET /handler HTTP/1.1\r\n\r\n");
    let _taken = server.handed_over();
    server.stop.cancel();
    server.join().expect("a clean end");
}

/// A process that runs [`server::serve`], with `limit` open files at most.
struct Process {
    child: Child,
    stderr: BufReader<ChildStderr>,
    port: u16,
    root: TempDir,
}

impl Process {
    fn start(limit: &str) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        write_large_file(&root.path().join("large"));
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "lifecycle::process", "--ignored", "--nocapture"])
            .env("WSHOST_TEST_ROOT", root.path())
            .env("WSHOST_TEST_OPEN_FILES", limit)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let line = line_with(&mut stderr, "wshost: ");
        let ready = std::fs::read_to_string(root.path().join("ready")).expect("a ready file");
        let port: u16 = ready.lines().next().expect("a line").parse().expect("a port");
        assert_eq!(ready, format!("{port}\nhttp://127.0.0.1:{port}/\n"));
        assert_eq!(line, format!("wshost: listening on http://127.0.0.1:{port}/ (ws://127.0.0.1:{port}/)\n"));
        Self { child, stderr, port, root }
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: `kill` touches no memory; the child was not waited for, so the id is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// The exit code.
    fn end(mut self) -> Option<i32> {
        self.child.wait().expect("an exit status").code()
    }
}

/// The next line that contains `text`.
fn line_with(lines: &mut BufReader<ChildStderr>, text: &str) -> String {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(lines.read_line(&mut line).expect("a line"), 0, "no line with {text:?}");
    }
    line
}

/// Not a test: what [`Process`] runs.
#[test]
#[ignore = "run by other tests, in a process of its own"]
fn process() {
    let Some(root) = std::env::var_os("WSHOST_TEST_ROOT") else { return };
    let root = Path::new(&root);
    // A shell that runs the tests in the background ignores it for them, and the server would leave it so.
    // SAFETY: this sets what SIGINT does to this process, in which nothing but this test runs.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let limit = std::env::var("WSHOST_TEST_OPEN_FILES").expect("a limit").parse().expect("a number");
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: `setrlimit` only reads `limit`.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let mut config = config(root);
    config.ready.file = Some(root.join("ready"));
    let listeners = Listeners::bind(&config.listen).expect("a free port");
    let (sender, _receiver) = channel();
    let on_hangup = || eprintln!("wshost: hangup");
    server::serve(Arc::new(config), listeners, Arc::new(StubHost(sender)), on_hangup, None, None)
        .expect("a clean end");
}

#[test]
fn a_signal_stops_the_server() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let process = Process::start("1024");
        process.signal(signal);
        assert_eq!(process.end(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let process = Process::start("1024");
        let mut client = connect(process.port);
        client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head();
        process.signal(signal);
        // The first has arrived when nobody listens any more.
        while TcpStream::connect(("127.0.0.1", process.port)).is_ok() {}
        process.signal(signal);
        assert_eq!(process.end(), Some(code));
    }
}

#[test]
fn a_hangup_asks_for_a_fresh_look_and_stops_nothing() {
    let mut process = Process::start("1024");
    for _ in 0..2 {
        process.signal(libc::SIGHUP);
        line_with(&mut process.stderr, "wshost: hangup");
    }
    connect(process.port);
    process.signal(libc::SIGTERM);
    assert_eq!(process.end(), Some(0));
}

#[test]
fn too_many_open_files_are_survived() {
    let mut process = Process::start("40");
    let many: Vec<_> = (0..60).map(|_| connect(process.port)).collect();
    line_with(&mut process.stderr, "Cannot accept a connection");
    drop(many);
    std::fs::write(process.root.path().join("a.txt"), "hello").expect("a file");
    let mut client = connect(process.port);
    client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(client.rest().ends_with("\r\n\r\nhello"));
    process.signal(libc::SIGTERM);
    assert_eq!(process.end(), Some(0));
}
