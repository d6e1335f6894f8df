//! What options mean: defaults, paths, and what does not go together.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::options;
use crate::config::{ClientAuth, Config, LogFormat, LogLevel, TlsConfig};
use crate::error::StartError;

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
    assert_eq!(config.write_timeout, Config::default().write_timeout);
    assert_eq!(config.max_message_size, Config::default().max_message_size);
    assert_eq!(config.max_total_message_size, Config::default().max_total_message_size);
    assert_eq!((config.ping, config.trace), (None, None));
    assert_eq!((config.log.max_size, config.log.backups), (262_144, 5));
    assert_eq!((config.log.format, config.log.deflate_level), (LogFormat::Text, LogLevel::Warning));
    assert_eq!(config.tls, None);
    let policy = config.policy;
    assert_eq!((policy.validation_host, policy.validation_port), (None, None));
    assert!(policy.basic_auth.is_none());
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
    assert!(auth(&["--basic-auth-credential", "a:b"]).is_none());
    assert!(auth(&["--basic-auth"]).is_some_and(|secret| secret.is("Basic dGVzdDp0ZXN0")));
    let accent = auth(&["--basic-auth", "--basic-auth-credential", "é:"]);
    assert!(accent.is_some_and(|secret| secret.is("Basic w6k6")));
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
    assert_eq!((listen(&["-q", "7"]).backlog, listen(&[]).backlog), (7, 128));
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
        (
            tree.path(),
            &["-w", "gone"],
            &[
                "--websock-handlers gone: No such file",
                "at /",
                "/gone: a relative path counts from --document-root",
            ],
        ),
        (tree.path(), &["-w", "map.txt"], &["--websock-handlers", "map.txt", "Not a directory"]),
        (
            tree.path(),
            &["-w", "/gone"],
            &["--websock-handlers /gone: No such file", "; name a directory that"],
        ),
        (tree.path(), &["-s", "gone"], &["--scan-dir gone: ", "/gone: a relative path counts"]),
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
