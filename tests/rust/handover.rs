//! From the async side to a handler.

use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use wshost::handover::Transport;

use crate::support::Server;

#[test]
fn the_handler_gets_the_socket_and_every_byte() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("GET /handler?a=b HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\nfirst");
    let taken = server.handed_over();
    assert_eq!(taken.unread.as_ref(), b"first");
    assert_eq!(taken.head.raw.as_ref(), b"GET /handler?a=b HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n");
    assert_eq!(taken.head.target, "/handler?a=b");
    assert_eq!(taken.head.header("x"), Some("y"));
    assert_eq!(taken.peer, client.0.local_addr().expect("an address"));
    assert_eq!(taken.local, ("127.0.0.1".to_owned(), server.port));
    assert!(!taken.is_https);
    let Transport::Tcp(mut socket) = taken.transport else { panic!("not TCP") };
    assert!(socket.nodelay().expect("an option"));
    // SAFETY: F_GETFL touches no memory.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    assert_eq!(flags & libc::O_NONBLOCK, 0);
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 6];
        socket.read_exact(&mut bytes).expect("bytes");
        socket.write_all(b"answer").expect("written");
        bytes
    });
    client.send("second");
    assert_eq!(&reader.join().expect("no panic"), b"second");
    assert_eq!(client.rest(), "answer");
}

#[test]
fn keep_alive_then_handler() {
    let server = Server::start();
    server.write("a.txt", "hello");
    let mut client = server.connect();
    client.send(
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /handler HTTP/1.1\r\n\r\nmore",
    );
    assert_eq!(client.response().1, "hello");
    let taken = server.handed_over();
    assert_eq!(taken.head.raw.as_ref(), b"GET /handler HTTP/1.1\r\n\r\n");
    assert_eq!(taken.unread.as_ref(), b"more");
}

#[test]
fn the_handler_decides_about_method_and_fields() {
    let server = Server::start();
    for request in [
        "GET /handler HTTP/1.1\r\n\r\n",
        "POST /handler HTTP/1.0\r\n\r\n",
        "GET /handler\r\n\r\n",
        "GET ///handler HTTP/1.1\r\n\r\n",
        "GET ws://other:80/handler HTTP/1.1\r\n\r\n",
        "GET wss://other/handler HTTP/1.1\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(request);
        assert_eq!(server.handed_over().head.target, "/handler", "{request}");
    }
}

#[test]
fn a_fragment_is_refused() {
    let server = Server::start();
    let response = server.get("/handler#a");
    assert!(response.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{response}");
}

#[test]
fn a_handler_that_cannot_start_costs_one_connection() {
    let server = Server::start();
    assert_eq!(server.get("/broken"), "");
    assert!(server.get("/").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_unix_socket_is_as_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s");
    let server = Server::start_with(|config| config.listen.unix = Some(path.clone()));
    server.write("a.txt", "hello");
    let mut client = UnixStream::connect(&path).expect("a connection");
    client.write_all(b"GET /handler HTTP/1.1\r\n\r\nmore").expect("sent");
    let taken = server.handed_over();
    assert_eq!(taken.unread.as_ref(), b"more");
    assert_eq!((taken.peer.to_string().as_str(), taken.local.1), ("127.0.0.1:0", 0));
    let Transport::Unix(socket) = taken.transport else { panic!("not Unix") };
    (&socket).write_all(b"answer").expect("written");
    drop(socket);
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("the end");
    assert_eq!(answer, "answer");
    let mut client = UnixStream::connect(&path).expect("a connection");
    client.write_all(b"GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    answer.clear();
    client.read_to_string(&mut answer).expect("the end");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    server.stop.cancel();
    server.join().expect("a clean end");
    assert!(!path.exists());
}
