//! CGI scripts: real programs, real sockets.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use wshost::config::Config;

use crate::support::{Client, Server, field, without_server_and_date};

/// A server whose scripts are in `/cgi-bin`.
fn server() -> Server {
    server_with(|_| {})
}

fn server_with(change: impl FnOnce(&mut Config)) -> Server {
    let server = Server::start_with(|config| {
        config.cgi_directories = vec!["/cgi-bin".to_owned()];
        change(config);
    });
    // Scripts run as nobody when the tests run as root.
    fs::set_permissions(server.root.path(), Permissions::from_mode(0o755)).expect("a mode");
    server
}

fn script(server: &Server, name: &str, lines: &str) {
    let path = server.write(&format!("cgi-bin/{name}"), format!("#!/bin/sh\n{lines}\n"));
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a mode");
}

/// A named pipe that scripts may open.
fn pipe(server: &Server, name: &str) -> PathBuf {
    let path = server.root.path().join(name);
    assert!(Command::new("mkfifo").arg("-m").arg("666").arg(&path).status().expect("mkfifo").success());
    path
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").expect("a head").1
}

/// Reads from `client` until `text` came.
fn read_until(client: &mut Client, text: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(text.as_bytes()) {
        let mut byte = [0];
        client.0.read_exact(&mut byte).expect("more output");
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn output_follows_the_references_head() {
    let server = server();
    script(&server, "a.sh", r"printf 'content-TYPE: text/plain\nX-A:  b\n\nhello\n'");
    let response = server.ask("GET /cgi-bin/a.sh HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        without_server_and_date(&response),
        "HTTP/1.0 200 Script output follows\r\nServer\r\nDate\r\ncontent-TYPE: text/plain\r\nX-A: b\r\n\r\nhello\n"
    );
    assert!(server.ask("HEAD /cgi-bin/a.sh HTTP/1.1\r\nHost: a\r\n\r\n").ends_with("X-A: b\r\n\r\n"));
    assert_eq!(server.ask("GET /cgi-bin/a.sh\r\n\r\n"), "hello\n", "HTTP/0.9");
}

#[test]
fn scripts_are_told_about_the_request() {
    let server = server();
    script(
        &server,
        "a.sh",
        "echo; echo \"$REQUEST_METHOD $SCRIPT_NAME ($PATH_INFO) $QUERY_STRING $SERVER_NAME:$SERVER_PORT\"
        echo \"$REMOTE_ADDR $HTTP_USER_AGENT $HTTP_PROXY$HTTP_X_A $# $1\"; pwd; echo \"$PATH_TRANSLATED\"; echo \"$0\"",
    );
    let response = server.ask(
        "GET /cgi-bin/a.sh?b+c%20 HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\nProxy: evil\r\nX-A: evil\r\n\r\n",
    );
    let root = fs::canonicalize(server.root.path()).expect("a path");
    let root = root.to_str().expect("UTF-8");
    assert_eq!(
        body(&response),
        format!(
            "GET /cgi-bin/a.sh () b+c%20 127.0.0.1:{}\n127.0.0.1 me  1 b c%20\n{root}\n{root}\n{root}/cgi-bin/a.sh\n",
            server.port
        )
    );
}

#[test]
fn what_is_no_script() {
    let server = server();
    script(&server, "a.sh", "echo; echo executed");
    server.write("cgi-bin/plain.txt", "hello");
    server.write("other/b.sh", "#!/bin/sh\necho; echo executed");
    fs::set_permissions(server.root.path().join("other/b.sh"), Permissions::from_mode(0o755))
        .expect("a mode");
    assert!(server.get("/cgi-bin/plain.txt").ends_with("\r\n\r\nhello"));
    assert!(server.get("/other/b.sh").ends_with("echo executed"), "a file like others");
    assert!(server.get("/cgi-bin/a.sh/info").starts_with("HTTP/1.0 404 "));
    assert_eq!(field(&server.get("/cgi-bin"), "location"), Some("/cgi-bin/"));
    assert!(server.get("/cgi-bin/").contains("<a href=\"a.sh\">"));
    for target in ["/cgi-bin/plain.txt", "/other/b.sh"] {
        let response = server.ask(format!("POST {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(response.starts_with("HTTP/1.0 501 Can only POST to CGI scripts\r\n"), "{response}");
    }
    let response = server.ask("PUT /cgi-bin/a.sh HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(response.starts_with("HTTP/1.0 501 Unsupported method ('PUT')\r\n"), "{response}");
}

#[test]
fn bodies_go_in_while_output_comes_out() {
    let server = server();
    script(&server, "cat", "echo; exec cat");
    // More than the pipes and buffers between hold: reading and writing must go on at the same time.
    let sent = "0123456789abcdef".repeat(1 << 18);
    let mut client = server.connect();
    let mut writer = client.0.try_clone().expect("a socket");
    let request = format!(
        "POST /cgi-bin/cat HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{sent}behind",
        sent.len()
    );
    let sending = std::thread::spawn(move || writer.write_all(request.as_bytes()));
    assert!(body(&client.rest()) == sent, "the body, and not what is behind it");
    sending.join().expect("no panic").expect("sent");
}

#[test]
fn a_script_need_not_read_its_body() {
    let server = server();
    script(&server, "a.sh", "exec 0<&-; echo; echo done");
    let sent = "x".repeat(1 << 20);
    let response = server.ask(format!(
        "POST /cgi-bin/a.sh HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{sent}",
        sent.len()
    ));
    assert_eq!(body(&response), "done\n");
}

#[test]
fn a_client_may_wait_for_100_continue() {
    let server = server();
    script(&server, "cat", "echo; exec cat");
    let mut client = server.connect();
    client.send("POST /cgi-bin/cat HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    assert_eq!(body(&client.rest()), "abc");
}

#[test]
fn a_body_that_stops_ends_the_script() {
    let server = server_with(|config| config.head_timeout = Duration::from_millis(50));
    script(&server, "cat", "exec cat");
    let response = server.ask("POST /cgi-bin/cat HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
    assert!(response.starts_with("HTTP/1.0 408 "), "{response}");
}

#[test]
fn chunked_bodies_and_doubtful_lengths_are_refused() {
    let server = server();
    script(&server, "a.sh", "echo; echo executed");
    for (fields, status) in [
        ("Transfer-Encoding: chunked\r\n", "411 Length Required"),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "400 Both Transfer-Encoding and Content-Length",
        ),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "400 Bad Content-Length"),
        ("Content-Length : 5\r\n", "400 Malformed header field"),
    ] {
        let response = server.ask(format!("POST /cgi-bin/a.sh HTTP/1.1\r\nHost: a\r\n{fields}\r\n0\r\n\r\n"));
        assert!(response.starts_with(&format!("HTTP/1.0 {status}\r\n")), "{response}");
        assert!(!response.contains("executed"), "{response}");
    }
}

#[test]
fn status_and_location() {
    let server = server();
    server.write("a.txt", "the file");
    script(&server, "status", r"printf 'Status: 404 Nothing here\nContent-Type: a/b\n\nno'");
    script(&server, "away", r"printf 'Location: http://other/\n\n'");
    script(&server, "here", r"printf 'Location: /a.txt?b\n\n'");
    script(&server, "next", r"printf 'Location: /cgi-bin/here\n\n'");
    script(&server, "loop", r"printf 'Location: /cgi-bin/loop\n\n'");
    let response = server.get("/cgi-bin/status");
    assert!(response.starts_with("HTTP/1.0 404 Nothing here\r\n"), "{response}");
    assert!(response.ends_with("\r\nContent-Type: a/b\r\n\r\nno"), "{response}");
    let response = server.get("/cgi-bin/away");
    assert!(response.starts_with("HTTP/1.0 302 Found\r\n"), "{response}");
    assert_eq!(field(&response, "location"), Some("http://other/"));
    for name in ["here", "next"] {
        let response =
            server.ask(format!("POST /cgi-bin/{name} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"));
        assert!(response.ends_with("\r\n\r\nthe file"), "{response}");
    }
    assert!(server.get("/cgi-bin/loop").starts_with("HTTP/1.0 502 "));
}

#[test]
fn failures_are_502() {
    let server = server();
    script(&server, "silent", "exit 0");
    script(&server, "failed", "exit 3");
    script(&server, "late", "printf 'Content-Type: a/b\\n\\nhalf'; exit 3");
    script(&server, "killed", "printf 'Content-Type: a/b\\n\\n'; kill -9 $$");
    script(&server, "text", "echo hello");
    script(&server, "partial", "printf 'Content-Type: a/b\\n'");
    script(&server, "endless", "yes: yes");
    server.write("cgi-bin/format", "#!/no/such/program\n");
    fs::set_permissions(server.root.path().join("cgi-bin/format"), Permissions::from_mode(0o755))
        .expect("a mode");
    for name in ["silent", "failed", "late", "killed", "text", "partial", "endless", "format"] {
        let response = server.get(&format!("/cgi-bin/{name}"));
        assert!(response.starts_with("HTTP/1.0 502 Bad Gateway\r\n"), "{name}: {response}");
    }
    let response = server.ask("GET /cgi-bin/silent HTTP/1.1\r\nHost: a\r\nUser-Agent: \0\r\n\r\n");
    assert!(response.starts_with("HTTP/1.0 400 "), "{response}");
}

#[test]
fn output_comes_while_the_script_runs() {
    let server = server();
    let gate = pipe(&server, "gate");
    script(&server, "a.sh", "printf 'A: b\\n\\none\\n'; cat gate; echo two");
    let mut client = server.connect();
    client.send("GET /cgi-bin/a.sh HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(read_until(&mut client, "one\n").contains("A: b\r\n"));
    drop(OpenOptions::new().write(true).open(gate).expect("the script reads"));
    assert_eq!(client.rest(), "two\n");
}

#[test]
fn a_script_ends_with_its_client_and_all_that_it_started() {
    let server = server();
    // Everything that the script starts has the pipe open; it ends when the last of them has ended.
    let held = pipe(&server, "held");
    script(&server, "silent", "exec 3>held; sleep 1000 & echo; echo up; sleep 1000");
    script(&server, "busy", "exec 3>held; echo; echo up; yes");
    for (name, is_reset) in [("silent", false), ("busy", false), ("busy", true)] {
        let mut client = server.connect();
        client.send(format!("GET /cgi-bin/{name} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut end = OpenOptions::new().read(true).open(&held).expect("the script writes");
        if !is_reset {
            read_until(&mut client, "up\n");
        }
        drop(client);
        assert_eq!(end.read(&mut [0]).expect("the end of the script"), 0, "{name}");
    }
}

#[test]
fn a_client_may_close_its_side_early() {
    let server = server();
    let gate = pipe(&server, "gate");
    script(&server, "a.sh", "echo; cat gate; echo done");
    let mut client = server.connect();
    client.send("GET /cgi-bin/a.sh HTTP/1.1\r\nHost: a\r\n\r\n");
    client.0.shutdown(Shutdown::Write).expect("half closed");
    drop(OpenOptions::new().write(true).open(gate).expect("the script reads"));
    assert_eq!(body(&client.rest()), "done\n");
}

#[test]
fn no_zombies_and_nobody_waits_for_what_is_left_behind() {
    let server = server();
    script(&server, "a.sh", "sleep 1000 & echo; echo $$ $!");
    let response = server.get("/cgi-bin/a.sh");
    let (script, left) = body(&response).trim().split_once(' ').expect("two numbers");
    if cfg!(target_os = "linux") {
        assert!(!Path::new("/proc").join(script).exists(), "waited for");
    }
    // It goes on, as with pywebsocket.
    assert!(Command::new("kill").arg(left).status().expect("kill").success());
}

#[test]
fn a_stop_ends_scripts_after_the_grace() {
    let server = server_with(|config| config.grace = Duration::from_millis(1));
    let held = pipe(&server, "held");
    script(&server, "a.sh", "exec 3>held; echo; echo up; sleep 1000");
    let mut client = server.connect();
    client.send("GET /cgi-bin/a.sh HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut end = OpenOptions::new().read(true).open(&held).expect("the script writes");
    read_until(&mut client, "up\n");
    server.stop.cancel();
    server.join().expect("a clean end");
    assert_eq!(end.read(&mut [0]).expect("the end of the script"), 0);
}

#[test]
fn root_does_not_run_scripts() {
    let server = server();
    script(&server, "a.sh", "echo; id -u; id -g; id -G");
    let response = server.get("/cgi-bin/a.sh");
    let ours = String::from_utf8(Command::new("id").arg("-u").output().expect("id").stdout).expect("UTF-8");
    let ids: Vec<&str> = body(&response).lines().collect();
    if ours.trim() == "0" {
        assert!(ids.iter().all(|id| *id != "0") && ids.len() == 3, "{ids:?}");
    } else {
        assert_eq!(ids[0], ours.trim());
    }
}
