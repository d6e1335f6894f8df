//! The command line of `wshost replay`. Must not import anything but its neighbours.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use http::Uri;

use super::usage::UsageError;
use super::value;

/// The name of the subcommand.
pub(super) const NAME: &str = "replay";

/// What `wshost replay` is asked for.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// What `--trace` has recorded.
    pub file: PathBuf,
    /// The server to try.
    pub server: ServerUrl,
    /// Only this connection, counted from 1.
    pub connection: Option<usize>,
    /// Keep the recorded pauses.
    pub timing: bool,
    /// How long a connection may get on in nothing.
    pub timeout: Duration,
}

/// What counts of the URL of a server.
#[derive(Debug, Clone)]
pub struct ServerUrl {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whose certificates to take; `None`: without TLS.
    pub tls: Option<Trust>,
}

/// Whose certificates to take.
#[derive(Debug, Clone)]
pub enum Trust {
    /// `--insecure`: anybody's.
    Anybody,
    /// `--ca`: those that one in this PEM file has signed.
    Authorities(PathBuf),
}

impl ServerUrl {
    /// Takes what was typed for `--ca` and `--insecure`, which `wss://` needs.
    pub(super) fn trust(&mut self, arguments: &mut ArgMatches) -> Result<(), &'static str> {
        if self.tls.is_some() {
            let authorities = arguments.remove_one("ca").map(Trust::Authorities);
            let anybody = arguments.get_flag("insecure").then_some(Trust::Anybody);
            let trust = authorities.or(anybody);
            self.tls = Some(trust.ok_or("wss:// needs --ca FILE, or --insecure to take any certificate")?);
        }
        Ok(())
    }
}

/// `--ca` and `--insecure`: whose certificates to take.
pub(super) fn trust_arguments() -> [Arg; 2] {
    let ca = Arg::new("ca").long("ca").value_name("FILE").value_parser(value_parser!(PathBuf));
    let insecure = Arg::new("insecure").long("insecure").action(ArgAction::SetTrue).conflicts_with("ca");
    [
        ca.help("For wss: PEM file of the CA certificates to check the server's against"),
        insecure.help("For wss: take any certificate"),
    ]
}

pub(super) fn command() -> Command {
    let path = |name: &'static str| Arg::new(name).value_parser(value_parser!(PathBuf)).value_name("FILE");
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
    };
    let only = Arg::new("connection").long("connection").value_name("N").value_parser(value::ordinal);
    let timeout = Arg::new("timeout")
        .long("timeout")
        .value_name("SECONDS")
        .default_value("10")
        .value_parser(value::positive_seconds);
    Command::new(NAME)
        .about("Send what clients sent while --trace recorded to a server, and compare what it says")
        .arg(path("file").required(true).help("What --trace has recorded"))
        .arg(
            Arg::new("url")
                .required(true)
                .value_name("URL")
                .value_parser(server)
                .help("The server, such as ws://localhost:9998; a path is not used"),
        )
        .arg(only.help("Only this connection, counted from 1 through the file"))
        .arg(flag("timing", "Keep the recorded pauses"))
        .arg(timeout.help("How long to wait for a server that says nothing, and to connect"))
        .args(trust_arguments())
        .args_override_self(true)
}

pub(super) fn options(command: &Command, mut arguments: ArgMatches) -> Result<ReplayOptions, UsageError> {
    let usage = |text| UsageError::Typed(command.clone().error(ErrorKind::MissingRequiredArgument, text));
    let (Some(file), Some(mut server)) =
        (arguments.remove_one("file"), arguments.remove_one::<ServerUrl>("url"))
    else {
        return Err(usage("replay needs FILE and URL"));
    };
    server.trust(&mut arguments).map_err(usage)?;
    Ok(ReplayOptions {
        file,
        server,
        connection: arguments.remove_one::<u32>("connection").and_then(|number| number.try_into().ok()),
        timing: arguments.get_flag("timing"),
        timeout: arguments.remove_one("timeout").unwrap_or_default(),
    })
}

/// The server that a URL names.
pub(super) fn server(url: &str) -> Result<ServerUrl, &'static str> {
    let wrong = "must be ws://HOST:PORT or wss://HOST:PORT, such as ws://localhost:9998";
    let url: Uri = url.parse().map_err(|_| wrong)?;
    let (default_port, tls) = match url.scheme_str() {
        Some("ws") => (80, None),
        Some("wss") => (443, Some(Trust::Anybody)),
        _ => return Err(wrong),
    };
    let authority = url.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(wrong)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => default_port,
        _ => authority.port_u16().filter(|port| *port > 0).ok_or(wrong)?,
    };
    if host.is_empty() {
        return Err(wrong);
    }
    Ok(ServerUrl { host: host.to_owned(), port, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_servers() {
        for (url, host, port, is_tls) in [
            ("ws://localhost:9998", "localhost", 9998, false),
            ("ws://127.0.0.1:1/echo?x", "127.0.0.1", 1, false),
            ("ws://[::1]:9998/", "::1", 9998, false),
            ("ws://a.example", "a.example", 80, false),
            ("wss://a.example/", "a.example", 443, true),
            ("wss://[::1]", "::1", 443, true),
        ] {
            let server = server(url).expect(url);
            assert_eq!((&*server.host, server.port, server.tls.is_some()), (host, port, is_tls), "{url}");
        }
        for url in [
            "",
            "localhost:9998",
            "http://a:1",
            "ws://",
            "ws://:1",
            "ws:///a",
            "ws://a:x",
            "ws://a:0",
            "ws://a:",
            "ws://a:99999",
            "ws://u@a:1",
        ] {
            assert!(server(url).is_err(), "{url}");
        }
    }
}
