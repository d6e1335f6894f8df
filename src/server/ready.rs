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
//! The file appears whole: whoever sees it can read the port out of it.
//! Must not import tokio or pyo3.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::FromRawFd as _;
use std::path::Path;

use crate::config::ReadyConfig;
use crate::error::StartError;

/// Tells everyone who wants to know that `port` of `host` (as configured) is listened on.
pub(super) fn announce(config: &ReadyConfig, host: Option<&str>, port: u16) -> Result<(), StartError> {
    let authority = format!("{}:{port}", shown_host(host));
    let text = format!("{port}\nhttp://{authority}/\n");
    if let Some(path) = &config.file {
        let option = || format!("--ready-file {}", path.display());
        write_file(path, &text).map_err(|source| StartError::Ready { option: option(), source })?;
    }
    if let Some(fd) = config.fd {
        let option = || format!("--ready-fd {fd}");
        write_fd(fd, &text).map_err(|source| StartError::Ready { option: option(), source })?;
    }
    // Nobody reads stderr when this fails.
    let _ = writeln!(io::stderr(), "wshost: listening on http://{authority}/ (ws://{authority}/)");
    Ok(())
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
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = Path::new(&name);
    let result = fs::write(temporary, text).and_then(|()| fs::rename(temporary, path));
    if result.is_err() {
        // It is not there, or the error above says why it cannot be removed either.
        let _ = fs::remove_file(temporary);
    }
    result
}

fn write_fd(fd: i32, text: &str) -> io::Result<()> {
    // SAFETY: F_GETFD touches no memory.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the option hands it over to us: nothing else here uses it.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(text.as_bytes())
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

    #[test]
    fn the_descriptor_is_written_and_closed() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let config = ReadyConfig { file: None, fd: Some(writer.into_raw_fd()) };
        announce(&config, Some("::1"), 9998).expect("written");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("the end of the pipe");
        assert_eq!(text, "9998\nhttp://[::1]:9998/\n");
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let config = ReadyConfig { file: None, fd: Some(i32::MAX) };
        let error = announce(&config, None, 1).expect_err("not open").to_string();
        assert!(error.starts_with("--ready-fd 2147483647: "), "{error}");
        let directory = tempfile::tempdir().expect("a directory");
        let config = ReadyConfig { file: Some(directory.path().join("missing/ready")), fd: None };
        let error = announce(&config, None, 1).expect_err("no directory").to_string();
        assert!(error.starts_with("--ready-file ") && error.contains("missing/ready: "), "{error}");
    }
}
