//! Tells people and programs that the listeners are up.
//!
//! People get one line on stderr:
//!
//! ```text
//! wshost: listening on http://localhost:9998/ (ws://localhost:9998/)
//! ```
//!
//! Programs get two lines through `--ready-file` or `--ready-fd`, the port and the URL:
//!
//! ```text
//! 9998
//! http://localhost:9998/
//! ```
//!
//! With TLS the URLs are `https://` and `wss://`. On a Unix socket the port is 0 and the URL `unix:PATH`. With
//! `--status` a third line is the URL of the status page.
//! The file appears whole: whoever sees it can read the port out of it.
//! Must not import tokio or pyo3.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use super::listening::Listeners;
use super::tls::Tls;
use crate::config::Config;
use crate::descriptors;
use crate::error::StartError;
use crate::logging;

/// Tells everyone who wants to know where `listeners` listen.
pub(super) fn announce(
    config: &Config,
    listeners: &Listeners,
    tls: Option<&Tls>,
    status: Option<String>,
    descriptor: Option<Descriptor>,
) -> Result<(), StartError> {
    let (port, (web, websocket)) = (listeners.port(), urls(config, listeners, tls.is_some()));
    let status_line = status.as_ref().map(|url| format!("{url}\n")).unwrap_or_default();
    let text = format!("{port}\n{web}\n{status_line}");
    if let Some(path) = &config.ready.file {
        write_file(path, &text).map_err(|source| StartError::ReadyFile { path: path.clone(), source })?;
    }
    if let Some(descriptor) = descriptor {
        descriptor.write(&text)?;
    }
    let mut lines = vec![format!("wshost: listening on {web} ({websocket})")];
    lines.extend(status.map(|url| format!("wshost: status page on {url}")));
    let fingerprints = tls.and_then(Tls::fingerprints);
    lines.extend(fingerprints.map(|text| format!("wshost: its own certificate for localhost has {text}")));
    logging::tell(&lines.join("\n"));
    Ok(())
}

/// What to connect to: for browsers, and for WebSocket clients.
fn urls(config: &Config, listeners: &Listeners, is_tls: bool) -> (String, String) {
    let (web, websocket) = if is_tls { ("https", "wss") } else { ("http", "ws") };
    if let Some(path) = listeners.unix_path() {
        return (format!("unix:{}", path.display()), format!("{websocket} over it"));
    }
    let host = match listeners.addresses() {
        // Not ours to choose: what was configured does not count.
        [address, ..] if !config.listen.fds.is_empty() => shown_host(Some(&address.ip().to_string())),
        _ => shown_host(config.listen.host.as_deref()),
    };
    let authority = format!("{host}:{}", listeners.port());
    (format!("{web}://{authority}/"), format!("{websocket}://{authority}/"))
}

/// The host for a URL that works in a browser on this machine.
fn shown_host(host: Option<&str>) -> String {
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        return "localhost".to_owned();
    };
    match host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => "localhost".to_owned(),
        _ if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]"),
        _ => host.to_owned(),
    }
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut name = OsString::from(path);
    // Others may write to the folder: a name that they cannot know, and no link that they have put there is followed.
    let chance = RandomState::new().hash_one(std::process::id());
    name.push(format!(".{chance:016x}.tmp"));
    let temporary = Path::new(&name);
    let mut file = File::create_new(temporary)?;
    let result = file.write_all(text.as_bytes()).and_then(|()| fs::rename(temporary, path));
    if result.is_err() {
        // It is not there, or the error above says why it cannot be removed either.
        let _ = fs::remove_file(temporary);
    }
    result
}

/// The descriptor of `--ready-fd`, which is ours.
#[derive(Debug)]
pub struct Descriptor {
    number: i32,
    file: File,
}

impl Descriptor {
    /// Takes the descriptor `number`, if there is one. To be called before the server opens anything.
    pub fn take(number: Option<i32>) -> Result<Option<Self>, StartError> {
        let Some(number) = number else { return Ok(None) };
        match descriptors::take_writable(number) {
            Ok(file) => Ok(Some(Self { number, file })),
            Err(problem) => Err(StartError::ReadyDescriptor { number, problem }),
        }
    }

    /// Writes `text` and closes the descriptor.
    fn write(mut self, text: &str) -> Result<(), StartError> {
        let number = self.number;
        self.file.write_all(text.as_bytes()).map_err(|source| StartError::ReadyUnread { number, source })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::IntoRawFd as _;

    use super::*;

    #[test]
    fn hosts_in_urls() {
        for (host, shown) in [
            (None, "localhost"),
            (Some(""), "localhost"),
            (Some("0.0.0.0"), "localhost"),
            (Some("::"), "localhost"),
            (Some("::1"), "[::1]"),
            (Some("127.0.0.1"), "127.0.0.1"),
            (Some("mochi.test"), "mochi.test"),
        ] {
            assert_eq!(shown_host(host), shown);
        }
    }

    #[test]
    fn the_file_is_replaced_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ready");
        fs::write(&path, "old").expect("a file");
        write_file(&path, "new").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "new");
        write_file(&directory.path().join("missing/ready"), "new").expect_err("no such directory");
        fs::create_dir(directory.path().join("directory")).expect("a directory");
        write_file(&directory.path().join("directory"), "new").expect_err("a directory");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 2);
    }

    fn listeners(host: &str) -> (Config, Listeners) {
        let mut config = Config::default();
        config.listen.host = Some(host.to_owned());
        config.listen.port = 0;
        let listeners = Listeners::bind(&config.listen).expect("a free port");
        (config, listeners)
    }

    #[test]
    fn the_descriptor_is_written_and_closed() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let (mut config, listeners) = listeners("127.0.0.1");
        config.ready.fd = Some(writer.into_raw_fd());
        let descriptor = Descriptor::take(config.ready.fd).expect("a pipe");
        announce(&config, &listeners, None, None, descriptor).expect("written");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("the end of the pipe");
        let port = listeners.port();
        assert_eq!(text, format!("{port}\nhttp://127.0.0.1:{port}/\n"));
    }

    #[test]
    fn urls_say_how_to_connect() {
        let (mut config, tcp) = listeners("localhost");
        let port = tcp.port();
        let expected = (format!("https://localhost:{port}/"), format!("wss://localhost:{port}/"));
        assert_eq!(urls(&config, &tcp, true), expected);
        config.listen.fds = vec![3];
        let host = shown_host(Some(&tcp.addresses()[0].ip().to_string()));
        assert_eq!(urls(&config, &tcp, false).0, format!("http://{host}:{port}/"));
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        config.listen.unix = Some(path.clone());
        let unix = Listeners::bind(&config.listen).expect("a free path");
        assert_eq!(urls(&config, &unix, false).0, format!("unix:{}", path.display()));
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let (mut config, listeners) = listeners("127.0.0.1");
        config.ready.fd = Some(i32::MAX);
        let error = Descriptor::take(config.ready.fd).expect_err("not open").to_string();
        assert_eq!(error, "--ready-fd 2147483647: it is not open in this process; pass one that is");
        let directory = tempfile::tempdir().expect("a directory");
        config.ready.file = Some(directory.path().join("missing/ready"));
        let error = announce(&config, &listeners, None, None, None).expect_err("no directory").to_string();
        assert!(error.starts_with("--ready-file ") && error.contains("missing/ready: "), "{error}");
    }
}
