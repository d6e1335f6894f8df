//! What can be typed: one struct per heading of the help, one field per option.
//!
//! Names, short letters and defaults of the first four are pywebsocket's; the last heading is our own.
//! Nothing is looked up or checked here beyond the form of a value.
#![allow(clippy::doc_markdown, reason = "the comments on fields are the help's text, read in a terminal")]

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::OsStringValueParser;
use clap::builder::TypedValueParser;

use super::value;
use crate::config::{DEFAULT_BACKLOG, DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_PORT, LogLevel};

/// Every option.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where to listen.
    #[command(flatten)]
    pub listen: ListenOptions,
    /// Where handlers come from.
    #[command(flatten)]
    pub handlers: HandlerOptions,
    /// Which files are served.
    #[command(flatten)]
    pub files: FileOptions,
    /// What is logged.
    #[command(flatten)]
    pub log: LogOptions,
    /// What pywebsocket does not have.
    #[command(flatten)]
    pub server: ServerOptions,
}

/// Where to listen.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listening")]
pub struct ListenOptions {
    /// Host name or address to listen on; every address of a name is used. Empty: all addresses of this
    /// machine, IPv6 and IPv4
    #[arg(
        short = 'H',
        long,
        alias = "server_host",
        value_name = "HOST",
        default_value = "",
        hide_default_value = true
    )]
    pub server_host: String,
    /// Port to listen on; 0 takes a free one
    #[arg(short, long, allow_negative_numbers = true, default_value_t = DEFAULT_PORT, value_parser = value::port)]
    pub port: u16,
    /// How many connections may wait to be accepted
    #[arg(
        short, long, value_name = "COUNT", allow_negative_numbers = true,
        default_value_t = DEFAULT_BACKLOG, value_parser = value::backlog
    )]
    pub queue: i32,
}

/// Where handlers come from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Handlers (relative paths count from the document root)")]
pub struct HandlerOptions {
    /// Root of the handler files: DIR/a/b_wsh.py handles ws://HOST/a/b
    #[arg(short, long, alias = "websock_handlers", value_name = "DIR", default_value = ".", value_parser = path())]
    pub websock_handlers: PathBuf,
    /// Look for handlers only below this directory, which lies under --websock-handlers
    #[arg(short, long, alias = "scan_dir", value_name = "DIR", value_parser = path())]
    pub scan_dir: Option<PathBuf>,
    /// File with more names for resources, one "ALIAS RESOURCE" a line
    #[arg(short = 'm', long, alias = "websock_handlers_map_file", value_name = "FILE", value_parser = path())]
    pub websock_handlers_map_file: Option<PathBuf>,
    /// Also take handlers whose real path, links resolved, is not under --websock-handlers
    #[arg(long, alias = "allow_handlers_outside_root_dir")]
    pub allow_handlers_outside_root_dir: bool,
    /// Python codec to read handler files with [default: the locale's]
    #[arg(long, alias = "handler_encoding", value_name = "CODEC")]
    pub handler_encoding: Option<String>,
}

/// Which files are served.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Files")]
pub struct FileOptions {
    /// Directory of the files to serve over HTTP; becomes the working directory
    #[arg(short, long, alias = "document_root", value_name = "DIR", default_value = ".", value_parser = path())]
    pub document_root: PathBuf,
}

/// What is logged, and where to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub struct LogOptions {
    /// File to append the log to, relative to the document root [default: stderr]
    #[arg(short, long, alias = "log_file", value_name = "FILE", value_parser = path())]
    pub log_file: Option<PathBuf>,
    /// Least severe records to write
    #[arg(long, alias = "log_level", value_name = "LEVEL", default_value = "warn", value_parser = value::log_level())]
    pub log_level: LogLevel,
}

/// What pywebsocket does not have.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "wshost options")]
pub struct ServerOptions {
    /// Load handlers once, at the start, and do not watch their files
    #[arg(long, alias = "no_reload")]
    pub no_reload: bool,
    /// How long files must be quiet before a change is loaded
    #[arg(
        long, alias = "reload_delay", value_name = "MS",
        default_value = "5", value_parser = value::milliseconds
    )]
    pub reload_delay: Duration,
    /// File to write the ready line to when the server listens, relative to where wshost was started
    #[arg(long, alias = "ready_file", value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Open file descriptor to write the ready line to, and to close then
    #[arg(long, alias = "ready_fd", value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub ready_fd: Option<i32>,
    /// How long a stop waits for open connections
    #[arg(
        long, value_name = "SECONDS",
        default_value = "5", value_parser = value::seconds
    )]
    pub grace: Duration,
    /// How long a client may take to send a request head
    #[arg(
        long, alias = "head_timeout", value_name = "SECONDS",
        default_value = "30", value_parser = value::positive_seconds
    )]
    pub head_timeout: Duration,
    /// Largest message that a handler receives, counted after inflating; a larger one is closed with 1009
    #[arg(
        long, alias = "max_message_size", value_name = "BYTES", default_value_t = DEFAULT_MAX_MESSAGE_SIZE,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub max_message_size: u64,
    /// Interpreter or virtual environment to run handlers with [default: the active environment, else the
    /// Python of the build]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Print the versions of wshost and Python, and which Python it is
    #[arg(long)]
    pub version: bool,
}

/// A path that may be empty: pywebsocket takes an empty value for an option that was not given.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}
