//! One row per option and spelling, and options from a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::command::command;
use super::super::{Invocation, Options, UsageError, Value, names, parse, reference_options};
use super::{TOKEN, args, options};
use crate::config::{LogFormat, LogLevel};

/// What one option is checked by.
type Check = fn(&Options) -> bool;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn takes_every_option_in_every_spelling() {
    let host: Check = |o| o.listen.server_host == "localhost";
    let port: Check = |o| o.listen.port == 9998;
    let queue: Check = |o| o.listen.queue == 7;
    let handlers: Check = |o| o.handlers.websock_handlers == Path::new("h");
    let scan: Check = |o| o.handlers.scan_dir.as_deref() == Some(Path::new("h/s"));
    let map: Check = |o| o.handlers.websock_handlers_map_file.as_deref() == Some(Path::new("map.txt"));
    let outside: Check = |o| o.handlers.allow_handlers_outside_root_dir;
    let encoding: Check = |o| o.handlers.handler_encoding.as_deref() == Some("utf-8");
    let root: Check = |o| o.files.document_root == Path::new("docs");
    let log_file: Check = |o| o.log.log_file.as_deref() == Some(Path::new("ws.log"));
    let debug: Check = |o| o.log.log_level == LogLevel::Debug;
    let ready_file: Check = |o| o.server.ready_file.as_deref() == Some(Path::new("ready"));
    let delay: Check = |o| o.server.reload_delay == Duration::from_millis(20);
    let token: Check = |o| o.server.status_token.as_deref() == Some(TOKEN);
    let poll: Check = |o| o.server.reload_poll == Some(Duration::from_millis(1500));
    let head: Check = |o| o.server.head_timeout == Duration::from_millis(1500);
    let write: Check = |o| o.server.write_timeout == Duration::from_millis(1500);
    let size: Check = |o| o.server.max_message_size == 1024;
    let total: Check = |o| o.server.max_total_message_size == 1024;
    let ping: Check = |o| o.server.ping_interval == Duration::from_millis(1500);
    let answer: Check = |o| o.server.ping_timeout == Duration::from_millis(1500);
    let config: Check = |o| o.listen.config.as_deref() == Some(Path::new("ws.ini"));
    let valid_host: Check = |o| o.policy.validation_host.as_deref() == Some("example.com");
    let valid_port: Check = |o| o.policy.validation_port == Some(8080);
    let auth: Check = |o| o.policy.basic_auth;
    let credential: Check = |o| o.policy.basic_auth_credential == "me:secret";
    let cgi: Check = |o| o.files.cgi_paths.as_deref() == Some("/cgi,/bin");
    let tls: Check = |o| o.tls.tls;
    let key: Check = |o| o.tls.private_key.as_deref() == Some(Path::new("key.pem"));
    let certificate: Check = |o| o.tls.certificate.as_deref() == Some(Path::new("cert.pem"));
    let client_auth: Check = |o| o.tls.tls_client_auth;
    let client_optional: Check = |o| o.tls.tls_client_cert_optional;
    let client_ca: Check = |o| o.tls.tls_client_ca.as_deref() == Some(Path::new("ca.pem"));
    let self_signed: Check = |o| o.server.tls_self_signed;
    let deflate: Check = |o| o.log.deflate_log_level == LogLevel::Debug;
    let log_max: Check = |o| o.log.log_max == 1_000_000;
    let log_count: Check = |o| o.log.log_count == 2;
    let monitor: Check = |o| o.log.thread_monitor_interval_in_sec == 60;
    let json: Check = |o| o.server.log_format == LogFormat::Json;
    let hide: Check = |o| o.server.hide_handlers;
    let table: &[(&[&str], Check)] = &[
        (&["-H", "localhost"], host),
        (&["--server-host", "localhost"], host),
        (&["--server_host=localhost"], host),
        (&["--serv", "localhost"], host),
        (&["--serv=localhost"], host),
        (&["-p", "9998"], port),
        (&["-p9998"], port),
        (&["-p=9998"], port),
        (&["--port", "9998"], port),
        (&["--port=9998"], port),
        (&["--po", "9998"], port),
        (&["-p", " 9998 "], port),
        (&["-p", "1", "--port", "9998"], port),
        (&["-q", "7"], queue),
        (&["--queue=7"], queue),
        (&["-q", "-1"], |o| o.listen.queue == -1),
        (&["-w", "h"], handlers),
        (&["--websock-handlers", "h"], handlers),
        (&["--websock_handlers=h"], handlers),
        (&["-s", "h/s"], scan),
        (&["--scan-dir", "h/s"], scan),
        (&["--scan_dir=h/s"], scan),
        (&["--scan", "h/s"], scan),
        (&["-m", "map.txt"], map),
        (&["--websock-handlers-map-file", "map.txt"], map),
        (&["--websock_handlers_map_file=map.txt"], map),
        (&["--websock-handlers-m=map.txt"], map),
        (&["--websock_handlers_m=map.txt"], map),
        (&["--allow-handlers-outside-root-dir"], outside),
        (&["--allow_handlers_outside_root_dir"], outside),
        (&["--allow"], outside),
        (&["--handler-encoding", "utf-8"], encoding),
        (&["--handler_encoding=utf-8"], encoding),
        (&["-d", "docs"], root),
        (&["-ddocs"], root),
        (&["--document-root", "docs"], root),
        (&["--document_root=docs"], root),
        (&["-l", "ws.log"], log_file),
        (&["--log-f", "ws.log"], log_file),
        (&["--log-file", "ws.log"], log_file),
        (&["--log_file=ws.log"], log_file),
        (&["--log-level", "debug"], debug),
        (&["--log_level=debug"], debug),
        (&["--log-l", "debug"], debug),
        (&["--config", "ws.ini"], config),
        (&["--config=ws.ini"], config),
        (&["--co", "ws.ini"], config),
        (&["-V", "example.com"], valid_host),
        (&["--validation-host", "example.com"], valid_host),
        (&["--validation_host=example.com"], valid_host),
        (&["-P", "8080"], valid_port),
        (&["--validation-port", "8080"], valid_port),
        (&["--validation_port=8080"], valid_port),
        (&["--basic-auth"], auth),
        (&["--basic_auth"], auth),
        (&["--basic-auth-credential", "me:secret"], credential),
        (&["--basic_auth_credential=me:secret"], credential),
        (&["-x", "/cgi,/bin"], cgi),
        (&["--cgi-paths", "/cgi,/bin"], cgi),
        (&["--cgi_paths=/cgi,/bin"], cgi),
        (&["-t"], tls),
        (&["--tls"], tls),
        (&["-tk", "key.pem"], key),
        (&["-k", "key.pem"], key),
        (&["--private-key", "key.pem"], key),
        (&["--private_key=key.pem"], key),
        (&["-c", "cert.pem"], certificate),
        (&["--certificate", "cert.pem"], certificate),
        (&["--tls-client-auth"], client_auth),
        (&["--tls_client_auth"], client_auth),
        (&["--tls-client-cert-optional"], client_optional),
        (&["--tls_client_cert_optional"], client_optional),
        (&["--tls-client-ca", "ca.pem"], client_ca),
        (&["--tls_client_ca=ca.pem"], client_ca),
        (&["--tls-self-signed"], self_signed),
        (&["--tls_self_signed"], self_signed),
        (&["--deflate-log-level", "debug"], deflate),
        (&["--deflate_log_level=debug"], deflate),
        (&["--log-max", "1000000"], log_max),
        (&["--log_max=1_000_000"], log_max),
        (&["--log-count", "2"], log_count),
        (&["--log_count=+2"], log_count),
        (&["--log-count", "-2"], |o| o.log.log_count == -2),
        (&["--thread-monitor-interval-in-sec", "60"], monitor),
        (&["--thread_monitor_interval_in_sec=60"], monitor),
        (&["--thread", "60"], monitor),
        (&["--log-format", "json"], json),
        (&["--log_format=json"], json),
        (&["--hide-handlers"], hide),
        (&["--hide_handlers"], hide),
        (&["--fd", "3"], |o| o.server.fd == Some(3)),
        (&["--unix", "ws.sock"], |o| o.server.unix.as_deref() == Some(Path::new("ws.sock"))),
        (&["--no-reload"], |o| o.server.no_reload),
        (&["--no_reload"], |o| o.server.no_reload),
        (&["--reload-delay", "20"], delay),
        (&["--reload_delay=20"], delay),
        (&["--status", "127.0.0.1:0"], |o| o.server.status == Some(("127.0.0.1".to_owned(), 0))),
        (&["--status=[::1]:9999"], |o| o.server.status == Some(("::1".to_owned(), 9999))),
        (&["--status", "localhost:1", "--status-token", TOKEN], token),
        (&["--status", "localhost:1", "--status_token", TOKEN], token),
        (&["--reload-poll", "1.5"], poll),
        (&["--reload_poll=1.5"], poll),
        (&["--ready-file", "ready"], ready_file),
        (&["--ready_file=ready"], ready_file),
        (&["--ready-fd", "3"], |o| o.server.ready_fd == Some(3)),
        (&["--ready_fd=3"], |o| o.server.ready_fd == Some(3)),
        (&["--grace", "0"], |o| o.server.grace == Duration::ZERO),
        (&["--head-timeout", "1.5"], head),
        (&["--head_timeout=1.5"], head),
        (&["--write-timeout", "1.5"], write),
        (&["--write_timeout=1.5"], write),
        (&["--max-message-size", "1024"], size),
        (&["--max_message_size=1024"], size),
        (&["--max-total-message-size", "1024"], total),
        (&["--max_total_message_size=1024"], total),
        (&["--trace", "t.jsonl"], |o| o.server.trace.as_deref() == Some(Path::new("t.jsonl"))),
        (&["--ping-interval", "1.5"], ping),
        (&["--ping_interval=1.5"], ping),
        (&["--ping-timeout", "1.5"], answer),
        (&["--ping_timeout=1.5"], answer),
        (&["--python", "venv"], |o| o.server.python.as_deref() == Some(Path::new("venv"))),
    ];
    for (typed, holds) in table {
        assert!(holds(&options(typed)), "{typed:?}");
        assert!(!holds(&options(&[])), "{typed:?} tells nothing: it is the default");
    }
    let tested: Vec<&str> = table.iter().flat_map(|(typed, _)| typed.iter().copied()).collect();
    for arg in command().get_arguments().filter_map(clap::Arg::get_long).filter(|long| *long != "version") {
        for spelling in [format!("--{arg}"), format!("--{}", arg.replace('-', "_"))] {
            assert!(
                tested.iter().any(|typed| typed.split('=').next() == Some(&spelling)),
                "no row for {spelling}"
            );
        }
    }
}

#[test]
fn log_levels_have_pywebsockets_names() {
    let table = [
        ("fine", LogLevel::Fine),
        ("debug", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("warning", LogLevel::Warning),
        ("warn", LogLevel::Warning),
        ("error", LogLevel::Error),
        ("critical", LogLevel::Critical),
    ];
    assert_eq!(table.map(|(name, _)| name), LogLevel::NAMES);
    for (name, level) in table {
        assert_eq!(options(&["--log-level", name]).log.log_level, level);
    }
}

#[test]
fn a_beginning_that_pywebsocket_takes_is_not_made_ambiguous() {
    let command = command();
    let long = |name| names::find(&command, name);
    let table = [
        ("log-f", Some("log-file")),
        ("log_f", Some("log-file")),
        ("log-fo", Some("log-format")),
        ("log-", None),
        ("he", Some("help")),
        ("h", None),
        ("hea", Some("head-timeout")),
        ("tls", Some("tls")),
        ("tls-c", None),
        ("tls-client-a", Some("tls-client-auth")),
        ("tls-s", Some("tls-self-signed")),
        ("basic-auth", Some("basic-auth")),
        ("basic-auth-", Some("basic-auth-credential")),
        ("p", None),
        ("ver", Some("version")),
        ("nothing", None),
    ];
    for (name, expected) in table {
        assert_eq!(long(name), expected, "--{name}");
    }
}

/// What comes of a command line with a file of options.
fn with_file(text: &str, typed: &[&str]) -> Result<Invocation, UsageError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ws.ini");
    fs::write(&file, text).unwrap();
    let mut args = args(typed);
    args.extend(["--config".into(), file.into()]);
    parse(args)
}

#[test]
fn takes_options_from_a_file_and_the_command_line_wins() {
    let text =
        "[pywebsocket]\nport = 1\nwebsock_handlers: h\nlog-l = info\ntls = False\nlog_max = -1\nlog_file=";
    let Ok(Invocation::Serve(options)) = with_file(text, &["-p", "2", "--log_file", "a.log"]) else {
        panic!("refused");
    };
    assert_eq!((options.listen.port, options.log.log_level), (2, LogLevel::Info));
    assert_eq!(options.handlers.websock_handlers, Path::new("h"));
    assert!(options.tls.tls);
    assert_eq!((options.log.log_max, options.log.log_file), (-1, Some(PathBuf::from("a.log"))));
    let no_file = parse(args(&["--config", ""]));
    assert!(matches!(no_file, Ok(Invocation::Serve(_))), "{no_file:?}");
}

#[test]
fn a_file_that_cannot_be_used_is_one_line_with_its_name() {
    let table = [
        ("port = 1\n", 1, "line 1: a section header"),
        ("[pywebsockets]\nport = 1\n", 1, "no section [pywebsocket]; write [pywebsocket] above"),
        ("[pywebsocket]\nport\n", 1, "line 2: must be NAME = VALUE"),
        ("[pywebsocket]\nport = 1\nPort = 2\n", 1, "line 3: this option was there before"),
        ("[pywebsocket]\nlog_file = 100%\n", 1, "line 2: log_file: a % must"),
        (
            "[pywebsocket]\nprot = 1\n",
            2,
            "line 2: unexpected argument '--prot' found; a similar argument exists: '--port'",
        ),
        ("[pywebsocket]\n\nlog = x\n", 2, "line 3: '--log' could be --log-file or --log-level or"),
        ("[pywebsocket]\nhel = 1\n", 2, "line 2: '--hel' is no option for a file"),
        ("[pywebsocket]\nlog_l = info\nport = http\n", 2, "line 3: invalid value 'http' for '--port <PORT>'"),
        (
            "[pywebsocket]\nlog_level = loud\n",
            2,
            "line 2: invalid value 'loud' for '--log-level <LEVEL>' [possible values: fine, debug",
        ),
    ];
    for (text, code, says) in table {
        let error = with_file(text, &[]).unwrap_err();
        assert_eq!(error.exit_code(), code, "{text}");
        let UsageError::ConfigFile(error) = error else { panic!("{text}: {error:?}") };
        let line = error.to_string();
        assert!(line.starts_with("--config /") && line.contains("ws.ini: "), "{line}");
        assert!(line.contains(says) && !line.contains('\n') && !line.contains('\u{1b}'), "{line}");
    }
    let gone = parse(args(&["--config", "/nonexistent/ws.ini"])).unwrap_err();
    assert_eq!(gone.exit_code(), 1);
    assert!(matches!(gone, UsageError::ConfigFile(error) if error.to_string().contains("No such file")));
}

#[test]
fn the_references_names_cover_every_option_but_ours() {
    let values = reference_options(args(&["-p", " 8_0 ", "-t", "-d", "/x"])).unwrap();
    let of = |dest| values.iter().find(|(known, _)| known == dest).map(|(_, value)| value.clone());
    assert_eq!(of("port"), Some(Value::Number(80)));
    assert_eq!(of("validation_port"), Some(Value::None));
    assert_eq!(of("use_tls"), Some(Value::Flag(true)));
    assert_eq!(of("document_root"), Some(Value::Text("/x".into())));
    assert_eq!(of("private_key"), Some(Value::Text("".into())));
    assert_eq!(of("scan_dir"), Some(Value::None));
    assert_eq!(of("config_file"), Some(Value::None));
    assert_eq!(of("use_basic_auth"), Some(Value::Flag(false)));
    assert_eq!(of("request_queue_size"), Some(Value::Number(128)));
    assert_eq!(of("log_count"), Some(Value::Number(5)));
    for dest in ["server_host", "certificate", "tls_client_ca", "log_file"] {
        assert_eq!(of(dest), Some(Value::Text("".into())), "{dest}");
    }
    for dest in ["validation_host", "websock_handlers_map_file", "cgi_paths", "handler_encoding"] {
        assert_eq!(of(dest), Some(Value::None), "{dest}");
    }
    assert_eq!(values.len(), 27, "as many as pywebsocket has");
    // Its order: one that is not in the list would come first.
    let first: Vec<&str> = values.iter().take(3).map(|(dest, _)| dest.as_str()).collect();
    assert_eq!(first, ["config_file", "server_host", "validation_host"]);
    assert_eq!(reference_options(args(&["--help"])).unwrap_err().exit_code(), 0);
    assert!(reference_options(args(&["man"])).is_err());
}
