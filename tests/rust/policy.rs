//! What is demanded of a request before it is looked at: basic authentication, host and port.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wshost::config::{PolicyConfig, Secret};
use wshost::http::{PolicyError, PolicySource};

use crate::support::{Server, without_server_and_date};

const CREDENTIAL: &str = "Basic dGVzdDp0ZXN0";

fn with_auth() -> Server {
    let policy =
        PolicyConfig { basic_auth: Some(Secret::new(CREDENTIAL.to_owned())), ..PolicyConfig::default() };
    Server::start_with_policy(|_| {}, policy)
}

#[test]
fn without_the_credential_nothing_is_looked_at() {
    let server = with_auth();
    server.write("a.txt", "hello");
    for (method, target) in
        [("GET", "/a.txt"), ("GET", "/missing"), ("GET", "/handler"), ("PUT", "/x"), ("GET", "ws://h:x/")]
    {
        for authorization in ["", "Authorization: Basic eDp5\r\n", "Authorization: basic dGVzdDp0ZXN0\r\n"] {
            let response =
                server.ask(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{authorization}\r\n"));
            assert_eq!(
                without_server_and_date(&response),
                "HTTP/1.0 401 Unauthorized\r\nServer\r\nDate\r\n\
                 WWW-Authenticate: Basic realm=\"Pywebsocket\"\r\n\r\n"
            );
        }
    }
    assert_eq!(server.ask("GET /a.txt\r\n\r\n"), "", "HTTP/0.9 has no heads");
}

#[test]
fn the_credential_opens_files_and_handlers_request_by_request() {
    let server = with_auth();
    server.write("a.txt", "hello");
    let mut client = server.connect();
    client.send(format!("GET /a.txt HTTP/1.1\r\nHost: a\r\nAuthorization: {CREDENTIAL}\r\n\r\n"));
    assert_eq!(client.response().1, "hello");
    client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.rest().starts_with("HTTP/1.0 401 "), "the next request needs it, too");
    let mut client = server.connect();
    client.send(format!("GET /handler HTTP/1.1\r\nAuthorization: {CREDENTIAL}\r\n\r\n"));
    assert_eq!(server.handed_over().head.target, "/handler");
}

#[test]
fn another_host_or_port_means_a_file() {
    let policy = PolicyConfig {
        validation_host: Some("example.com".to_owned()),
        validation_port: Some(9998),
        basic_auth: None,
    };
    let server = Server::start_with_policy(|_| {}, policy);
    server.write("a.txt", "hello");
    for target in ["ws://example.com/handler", "ws://other:9998/handler", "ws://other:9998/a.txt"] {
        assert!(server.get(target).starts_with("HTTP/1.0 404 File not found\r\n"), "{target}");
    }
    for target in ["ws://EXAMPLE.com:9998/handler", "wss://example.com:9998/handler", "/handler"] {
        let mut client = server.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(server.handed_over().head.target, "/handler", "{target}");
    }
    assert!(server.get("ws://example.com:9998/a.txt").ends_with("\r\n\r\nhello"));
}

/// Demands a credential of every request but the first, and fails at the third.
struct Changing(Arc<AtomicUsize>);

impl PolicySource for Changing {
    fn policy(&self) -> Result<PolicyConfig, PolicyError> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(PolicyConfig::default()),
            1 => Ok(PolicyConfig {
                basic_auth: Some(Secret::new(CREDENTIAL.to_owned())),
                ..PolicyConfig::default()
            }),
            _ => Err(PolicyError("no such option".to_owned())),
        }
    }
}

#[test]
fn the_policy_is_asked_for_each_request_and_fails_closed() {
    let asked = Arc::new(AtomicUsize::new(0));
    let server = Server::start_with_policy(|_| {}, Changing(Arc::clone(&asked)));
    server.write("a.txt", "hello");
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().1, "hello");
    client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.rest().starts_with("HTTP/1.0 401 "));
    assert_eq!(server.get("/a.txt"), "");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}
