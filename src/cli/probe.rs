//! The command line of `wshost probe`. Must not import anything but its neighbours.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::replay::{ServerUrl, server, trust_arguments};
use super::usage::UsageError;
use super::value;

/// The name of the subcommand.
pub(super) const NAME: &str = "probe";

/// What `wshost probe` is asked for.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// What to open.
    pub url: String,
    /// The server of it.
    pub server: ServerUrl,
    /// Subprotocols to offer.
    pub protocols: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// A URL, and the server that it names.
#[derive(Debug, Clone)]
struct Resource(String, ServerUrl);

fn resource(url: &str) -> Result<Resource, &'static str> {
    Ok(Resource(url.to_owned(), server(url)?))
}

pub(super) fn command() -> Command {
    let url = Arg::new("url").required(true).value_name("URL").value_parser(resource);
    let protocol = Arg::new("protocol").long("protocol").value_name("NAME").action(ArgAction::Append);
    let timeout = Arg::new("timeout")
        .long("timeout")
        .value_name("SECONDS")
        .default_value("10")
        .value_parser(value::positive_seconds);
    Command::new(NAME)
        .about("Open a WebSocket connection and close it again: does the server answer, and with what?")
        .arg(url.help("What to open, such as ws://localhost:9998/echo"))
        .arg(protocol.help("A subprotocol to offer; may be given several times"))
        .arg(timeout.help("How long all of it may take"))
        .args(trust_arguments())
}

pub(super) fn options(command: &Command, mut arguments: ArgMatches) -> Result<ProbeOptions, UsageError> {
    let usage = |text| UsageError::Typed(command.clone().error(ErrorKind::MissingRequiredArgument, text));
    let Some(Resource(url, mut server)) = arguments.remove_one("url") else {
        return Err(usage("probe needs URL"));
    };
    server.trust(&mut arguments).map_err(usage)?;
    Ok(ProbeOptions {
        url,
        server,
        protocols: arguments.remove_many("protocol").into_iter().flatten().collect(),
        timeout: arguments.remove_one("timeout").unwrap_or_default(),
    })
}
