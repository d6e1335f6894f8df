//! Request heads: how they arrive, their limits, and errors with the reference's bytes.

use std::net::Shutdown;
use std::time::Duration;

use crate::support::{Server, without_server_and_date};

#[test]
fn a_head_in_single_bytes() {
    let server = Server::start();
    server.write("a.txt", "hello");
    let mut client = server.connect();
    client.0.set_nodelay(true).expect("no delay");
    for byte in b"GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" {
        client.send([*byte]);
    }
    assert!(client.rest().ends_with("\r\n\r\nhello"));
}

#[test]
fn a_head_that_ends_with_the_connection_is_a_head() {
    let server = Server::start();
    server.write("a.txt", "hello");
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.0");
    client.0.shutdown(Shutdown::Write).expect("half closed");
    assert!(client.rest().ends_with("\r\n\r\nhello"));
}

#[test]
fn a_bad_request_line_gets_the_reference_bytes_at_once() {
    let server = Server::start();
    let page = "<!DOCTYPE HTML>\n<html lang=\"en\">\n    <head>\n        <meta charset=\"utf-8\">\n        \
        <title>Error response</title>\n    </head>\n    <body>\n        <h1>Error response</h1>\n        \
        <p>Error code: 400</p>\n        <p>Message: Bad request syntax (\"GET / ' x HTTP/1.1\").</p>\n        \
        <p>Error code explanation: 400 - Bad request syntax or unsupported method.</p>\n    </body>\n</html>\n";
    let response = server.ask("GET / ' x HTTP/1.1\r\n");
    assert_eq!(
        without_server_and_date(&response),
        format!(
            "HTTP/1.0 400 Bad request syntax (\"GET / ' x HTTP/1.1\")\r\nServer\r\nDate\r\n\
             Connection: close\r\nContent-Type: text/html;charset=utf-8\r\nContent-Length: 373\r\n\r\n{page}"
        )
    );
    // pywebsocket: without a version, it is HTTP/0.9, whose responses have no head.
    assert!(server.ask("GET\r\n").starts_with("<!DOCTYPE HTML>"));
}

#[test]
fn oversize_heads() {
    let server = Server::start();
    let long = "a".repeat(70_000);
    let response = server.ask(format!("GET /{long} HTTP/1.1\r\n\r\n"));
    assert!(response.starts_with("HTTP/1.0 414 Request-URI Too Long\r\n"), "{response}");
    let response = server.ask(format!("GET / HTTP/1.1\r\nA: {long}\r\n\r\n"));
    assert!(response.starts_with("HTTP/1.0 431 Line too long\r\n"), "{response}");
    let response = server.ask(format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100)));
    assert!(response.starts_with("HTTP/1.0 431 Too many headers\r\n"), "{response}");
}

#[test]
fn silence_is_answered_with_silence() {
    let server = Server::start();
    drop(server.connect());
    let mut client = server.connect();
    client.0.shutdown(Shutdown::Write).expect("half closed");
    assert_eq!(client.rest(), "");
    assert_eq!(server.ask(" \r\n"), "");
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let server = Server::start();
    server.write("a.txt", "hello");
    let get = "GET /a.txt HTTP/1.1\r\nHost: a\r\n";
    let response = server.ask(format!("\r\n{get}\r\n\r\n\n{get}Connection: close\r\n\r\n"));
    assert_eq!(response.matches("hello").count(), 2, "{response}");
    assert_eq!(server.ask("\r\n".repeat(9) + get + "\r\n"), "", "there is a limit");
}

#[test]
fn a_head_has_a_time_limit() {
    let server = Server::start_with(|config| config.head_timeout = Duration::from_millis(20));
    assert_eq!(server.ask(""), "");
    assert!(server.ask("GET / HTTP/1.1\r\nHo").starts_with("HTTP/1.0 408 Request Timeout\r\n"));
}
