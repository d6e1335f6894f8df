//! One row per option and spelling, what a wrong value says, and what options mean.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;

use super::{Invocation, Options, UsageError, Value, command, names, parse, reference_options};
use crate::config::{ClientAuth, Config, LogFormat, LogLevel, TlsConfig};
use crate::error::StartError;

fn args(typed: &[&str]) -> Vec<OsString> {
    std::iter::once("wshost").chain(typed.iter().copied()).map(OsString::from).collect()
}

fn options(typed: &[&str]) -> Options {
    let command = command();
    let args = names::written_out(&command, args(typed));
    match command.try_get_matches_from(args).and_then(|matches| Options::from_arg_matches(&matches)) {
        Ok(options) => options,
        Err(error) => panic!("{typed:?}: {error}"),
    }
}

fn refused(typed: &[&str]) -> clap::Error {
    match parse(args(typed)) {
        Err(UsageError::Typed(error)) => error,
        other => panic!("{typed:?} was not refused: {other:?}"),
    }
}

const TOKEN: &str = "0123456789abcdef-_XY";

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
    let size: Check = |o| o.server.max_message_size == 1024;
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
        (&["--max-message-size", "1024"], size),
        (&["--max_message_size=1024"], size),
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
fn refuses_wrong_usage_with_2_and_says_what_to_type() {
    let table: &[(&[&str], &str)] = &[
        (&["--document-rot", "x"], "--document-root"),
        (&["--log", "x"], "--log-"),
        (&["-p", "99999"], "0 to 65535"),
        (&["-p", "-1"], "0 to 65535"),
        (&["-p", "http"], "0 to 65535"),
        (&["-p"], "--port"),
        (&["-q", "many"], "128"),
        (&["--log-level", "verbose"], "fine"),
        (&["--log-level", "WARN"], "warn"),
        (&["--reload-delay", "soon"], "milliseconds"),
        (&["--reload-poll", "0"], "more than 0"),
        (&["--status", "9999"], "HOST:PORT"),
        (&["--status", "::1:9999"], "HOST:PORT"),
        (&["--status", ":9999"], "HOST:PORT"),
        (&["--status", "localhost:x"], "HOST:PORT"),
        (&["--status", "localhost:1", "--status-token", "short"], "16 or more"),
        (&["--status-token", TOKEN], "--status"),
        (&["--grace", "-1"], "seconds"),
        (&["--grace=-1"], "seconds"),
        (&["--head-timeout", "0"], "more than 0"),
        (&["--max-message-size", "0"], "1.."),
        (&["--ready-fd=-1"], "0.."),
        (&["--fd=-1"], "0.."),
        (&["--fd", "3", "--unix", "ws.sock"], "cannot be used with"),
        (&["handlers"], "'handlers'"),
        (&["--", "--po"], "--po"),
        (&["man", "-p", "1"], "-p"),
        (&["-p", "1", "man"], "man"),
        (&["vendor"], "DIR"),
        (&["completions"], "SHELL"),
        (&["completions", "dash"], "bash"),
        (&["-V"], "--validation-host"),
        (&["-P", "http"], "0 to 65535"),
        (&["--deflate-log-level", "fine"], "debug"),
        (&["--log-max", "1MB"], "whole number"),
        (&["--log-max", "99999999999999999999"], "too large"),
        (&["--log-count", "_1"], "whole number"),
        (&["--log-format", "xml"], "json"),
        (&["--tls=yes"], "--tls"),
    ];
    for (typed, says) in table {
        let error = refused(typed);
        assert_eq!(error.exit_code(), 2, "{typed:?}");
        assert!(error.to_string().contains(says), "{typed:?} says\n{error}");
    }
}

#[test]
fn help_names_every_option_and_default() {
    let help = refused(&["--help"]);
    assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
    let help = help.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.starts_with("Serves pywebsocket handlers"), "{help}");
    for part in [
        "Listening:",
        "Handlers (relative",
        "Files and CGI programs:",
        "TLS (relative",
        "Access:",
        "Log:",
        "wshost options:",
        "-H, --server-host",
        "[default: 80]",
        "[default: 128]",
        "[default: warn]",
        "[default: 5]",
        "[default: 30]",
        "[default: 268435456]",
        "[default: stderr]",
        "[default: 262144]",
        "[default: test:test]",
        "[default: text]",
        "[default: -1]",
    ] {
        assert!(help.contains(part), "no {part:?} in\n{help}");
    }
}

#[test]
fn the_guide_names_every_option() {
    let guide = include_str!("../../docs/guide.md");
    for arg in command().get_arguments() {
        let long = arg.get_long().unwrap();
        let value = arg.get_value_names().filter(|_| arg.get_action().takes_values());
        let shown = match (arg.get_short().filter(|_| long != "help"), value) {
            (Some(short), Some([value])) => format!("`-{short}`, `--{long} {value}`"),
            (Some(short), _) => format!("`-{short}`, `--{long}`"),
            (None, Some([value])) => format!("`--{long} {value}`"),
            (None, _) => format!("`--{long}`"),
        };
        assert!(guide.contains(&shown), "no {shown} in docs/guide.md");
    }
}

#[test]
fn version_wins_and_keeps_the_interpreter() {
    let invocation = parse(args(&["-p", "1", "--version", "--python", "venv"])).unwrap();
    assert!(matches!(invocation, Invocation::Version { .. }));
    assert_eq!(invocation.python(), Some(Path::new("venv")));
    assert_eq!(parse(args(&["--python", "venv"])).unwrap().python(), Some(Path::new("venv")));
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

#[test]
fn prints_completions_and_the_manual_page() {
    let printed = |typed: &[&str]| match parse(args(typed)) {
        Ok(Invocation::Print(text)) => String::from_utf8(text).unwrap(),
        other => panic!("{typed:?}: {other:?}"),
    };
    for (shell, begins) in [("bash", "_wshost()"), ("zsh", "#compdef wshost"), ("fish", "# Print an")] {
        let script = printed(&["completions", shell]);
        assert!(script.starts_with(begins), "{script}");
        assert!(script.contains("thread-monitor-interval-in-sec"), "{script}");
    }
    let page = printed(&["man"]);
    assert!(page.contains(".TH wshost 1"), "{page}");
    for arg in command().get_arguments() {
        let name = arg.get_long().unwrap().replace('-', "\\-");
        assert!(page.contains(&name), "no {name} in\n{page}");
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
        ("[pywebsockets]\nport = 1\n", 1, "no section [pywebsocket]"),
        ("[pywebsocket]\nport\n", 1, "line 2: must be NAME = VALUE"),
        ("[pywebsocket]\nport = 1\nPort = 2\n", 1, "line 3: this option was there before"),
        ("[pywebsocket]\nlog_file = 100%\n", 1, "log_file: a % must"),
        ("[pywebsocket]\nprot = 1\n", 2, "'--prot' found; tip: a similar argument exists: '--port'"),
        ("[pywebsocket]\nlog = x\n", 2, "'--log' found"),
        ("[pywebsocket]\nhel = 1\n", 2, "'--hel' is no option for a file"),
        ("[pywebsocket]\nport = http\n", 2, "'http' for '--port <PORT>'"),
        ("[pywebsocket]\nlog_level = loud\n", 2, "[possible values: fine, debug"),
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
    let of = |dest| values.iter().find(|(known, _)| *known == dest).map(|(_, value)| value.clone());
    assert_eq!(of("port"), Some(Value::Number(80)));
    assert_eq!(of("validation_port"), Some(Value::None));
    assert_eq!(of("use_tls"), Some(Value::Flag(true)));
    assert_eq!(of("document_root"), Some(Value::Text("/x".into())));
    assert_eq!(of("private_key"), Some(Value::Text("".into())));
    assert_eq!(of("scan_dir"), Some(Value::None));
    let reference = command().get_arguments().filter(|arg| names::is_reference(arg)).count();
    assert_eq!(values.len(), reference);
    assert_eq!(reference_options(args(&["--help"])).unwrap_err().exit_code(), 0);
    assert!(reference_options(args(&["man"])).is_err());
}

/// A document root with `handlers/sub`, `other` and `map.txt`.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("handlers/sub")).unwrap();
    fs::create_dir(tree.path().join("other")).unwrap();
    fs::write(tree.path().join("map.txt"), "").unwrap();
    tree
}

fn resolved(root: &Path, typed: &[&str]) -> Result<Config, StartError> {
    let mut options = options(typed);
    options.files.document_root = root.to_owned();
    options.resolve()
}

#[test]
fn no_option_means_pywebsockets_defaults() {
    let here = std::env::current_dir().unwrap();
    let config = options(&[]).resolve().unwrap();
    assert_eq!((config.listen.host, config.listen.port, config.listen.backlog), (None, 80, 128));
    assert_eq!(config.document_root, here);
    assert_eq!((config.handlers.root, config.handlers.scan), (here.clone(), here));
    assert!(!config.handlers.allow_outside_root && config.handlers.reload);
    assert_eq!((config.handlers.map_file, config.handlers.encoding), (None, None));
    assert_eq!((config.log.level, config.log.file), (LogLevel::Warning, None));
    assert_eq!(config.handlers.reload_delay, Config::default().handlers.reload_delay);
    assert_eq!(config.grace, Config::default().grace);
    assert_eq!(config.head_timeout, Config::default().head_timeout);
    assert_eq!(config.max_message_size, Config::default().max_message_size);
    assert_eq!((config.log.max_size, config.log.backups), (262_144, 5));
    assert_eq!((config.log.format, config.log.deflate_level), (LogFormat::Text, LogLevel::Warning));
    assert_eq!((config.tls, config.policy), (None, crate::config::PolicyConfig::default()));
    assert_eq!((config.cgi_directories, config.thread_monitor), (vec![], None));
    assert!(!config.hide_handlers);
}

#[test]
fn relative_paths_count_from_the_document_root() {
    let tree = tree();
    let root = tree.path();
    let typed = ["-w", "handlers", "-s", "handlers/sub", "-m", "map.txt", "-l", "ws.log"];
    let config = resolved(root, &typed).unwrap();
    assert_eq!(config.document_root, root);
    assert_eq!(config.handlers.root, root.join("handlers"));
    assert_eq!(config.handlers.scan, root.join("handlers/sub"));
    assert_eq!(config.handlers.map_file, Some(root.join("map.txt")));
    assert_eq!(config.log.file, Some(root.join("ws.log")));
    let config = resolved(root, &["-w", "handlers", "--ready-file", "ready"]).unwrap();
    assert_eq!(config.handlers.scan, root.join("handlers"));
    assert_eq!(config.ready.file, Some(PathBuf::from("ready")));
}

#[test]
fn tls_means_a_certificate_and_what_is_asked_of_clients() {
    let tree = tree();
    let root = tree.path();
    let files = ["-t", "-c", "cert.pem", "-k", "key.pem"];
    let with = |more: &[&str]| resolved(root, &[&files, more].concat()).unwrap().tls.unwrap();
    let expected = |client_auth| TlsConfig {
        certificate: root.join("cert.pem"),
        private_key: root.join("key.pem"),
        client_auth,
        self_signed: false,
    };
    let ca = root.join("ca.pem");
    assert_eq!(with(&[]), expected(ClientAuth::None));
    assert_eq!(with(&["--tls-client-ca", "ca.pem"]), expected(ClientAuth::None));
    let auth = ["--tls-client-auth", "--tls-client-ca", "ca.pem"];
    assert_eq!(with(&auth), expected(ClientAuth::Required(ca.clone())));
    let optional = [&auth[..], &["--tls-client-cert-optional"]].concat();
    assert_eq!(with(&optional), expected(ClientAuth::Optional(ca)));
    for typed in [&["--tls-self-signed"][..], &["--tls", "--tls-self-signed"]] {
        let tls = resolved(root, typed).unwrap().tls.unwrap();
        assert!(tls.self_signed && tls.certificate.as_os_str().is_empty(), "{tls:?}");
    }
    assert_eq!(resolved(root, &["-c", "cert.pem", "-k", "key.pem"]).unwrap().tls, None);
}

#[test]
fn tls_options_that_do_not_go_together_are_one_line() {
    let tree = tree();
    let files = ["-t", "-c", "cert.pem", "-k", "key.pem"];
    let table: &[(&[&str], &str)] = &[
        (&["--tls"], "--private-key FILE"),
        (&["--tls", "-c", "cert.pem"], "--private-key FILE"),
        (&["--tls", "-k", "key.pem", "-c", ""], "--certificate FILE"),
        (&["--tls-client-auth"], "--tls-client-auth needs --tls"),
        (&["--tls-client-cert-optional"], "needs --tls and"),
        (&[&files[..], &["--tls-client-cert-optional"]].concat(), "needs --tls-client-auth"),
        (&[&files[..], &["--tls-client-auth"]].concat(), "--tls-client-ca FILE"),
        (&[&files[..], &["--tls-self-signed"]].concat(), "leave out"),
    ];
    for (typed, says) in table {
        let error = resolved(tree.path(), typed).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains('\n'), "{typed:?}: {error}");
    }
}

#[test]
fn the_credential_becomes_what_clients_send() {
    let tree = tree();
    let auth = |typed: &[&str]| resolved(tree.path(), typed).unwrap().policy.basic_auth;
    assert_eq!(auth(&["--basic-auth-credential", "a:b"]), None);
    assert_eq!(auth(&["--basic-auth"]).as_deref(), Some("Basic dGVzdDp0ZXN0"));
    let accent = auth(&["--basic-auth", "--basic-auth-credential", "é:"]);
    assert_eq!(accent.as_deref(), Some("Basic w6k6"));
}

#[test]
fn numbers_below_one_switch_off() {
    let tree = tree();
    let typed = ["--log-max", "-1", "--log-count=-1", "--thread-monitor-interval-in-sec", "0", "-q", "-1"];
    let config = resolved(tree.path(), &typed).unwrap();
    assert_eq!((config.log.max_size, config.log.backups), (0, 0));
    assert_eq!((config.thread_monitor, config.listen.backlog), (None, 0));
    let config = resolved(tree.path(), &["--thread-monitor-interval-in-sec", "3", "-x", "/a,b,"]).unwrap();
    assert_eq!(config.thread_monitor, Some(Duration::from_secs(3)));
    assert_eq!(config.cgi_directories, ["/a", "b", ""]);
}

#[test]
fn where_to_listen_besides_host_and_port() {
    let tree = tree();
    let listen = |typed: &[&str]| resolved(tree.path(), typed).unwrap().listen;
    assert_eq!((listen(&[]).fds, listen(&[]).unix), (vec![], None));
    assert_eq!(listen(&["--fd", "7"]).fds, [7]);
    let here = std::env::current_dir().unwrap();
    assert_eq!(listen(&["--unix", "ws.sock"]).unix, Some(here.join("ws.sock")));
    assert_eq!(listen(&["--unix", ""]).unix, None);
}

#[test]
fn an_empty_value_is_none() {
    let tree = tree();
    let typed = ["-H", "", "-w", "", "-s", "", "-m", "", "-l", "", "--handler-encoding", ""];
    let config = resolved(tree.path(), &typed).unwrap();
    assert_eq!((config.listen.host, config.log.file, config.handlers.encoding), (None, None, None));
    assert_eq!((config.handlers.scan, config.handlers.map_file), (tree.path().to_owned(), None));
    assert_eq!(config.handlers.root, tree.path());
}

#[test]
fn a_path_that_is_wrong_is_one_line_with_the_option_and_the_path() {
    let tree = tree();
    let gone = tree.path().join("gone");
    let table: &[(&Path, &[&str], &[&str])] = &[
        (&gone, &[], &["--document-root", "gone", "No such file"]),
        (tree.path(), &["-w", "gone"], &["--websock-handlers", "gone", "No such file"]),
        (tree.path(), &["-w", "map.txt"], &["--websock-handlers", "map.txt", "Not a directory"]),
        (tree.path(), &["-s", "gone"], &["--scan-dir", "gone"]),
        (tree.path(), &["-w", "handlers", "-s", "other"], &["--scan-dir", "other", "handlers", "under"]),
        (tree.path(), &["-m", "gone"], &["--websock-handlers-map-file", "gone", "check the path"]),
        (tree.path(), &["-m", "other"], &["--websock-handlers-map-file", "other", "is a directory"]),
    ];
    for (root, typed, parts) in table {
        let error = resolved(root, typed).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        for part in *parts {
            assert!(error.contains(part), "{typed:?}: no {part:?} in {error}");
        }
    }
}

#[test]
fn a_scan_directory_beside_the_root_with_a_longer_name_is_outside() {
    let tree = tree();
    fs::create_dir(tree.path().join("handlers-more")).unwrap();
    let error = resolved(tree.path(), &["-w", "handlers", "-s", "handlers-more"]).unwrap_err();
    assert!(matches!(error, StartError::ScanOutsideRoot { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_linked_scan_directory_counts_by_where_it_leads() {
    let tree = tree();
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(tree.path().join(to), tree.path().join(name)).unwrap();
    };
    link("handlers/sub", "into");
    link("other", "handlers/out");
    let config = resolved(tree.path(), &["-w", "handlers", "-s", "into"]).unwrap();
    assert_eq!(config.handlers.scan, tree.path().join("into"));
    assert!(resolved(tree.path(), &["-w", "handlers", "-s", "handlers/out"]).is_err());
}
