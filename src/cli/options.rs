//! What can be typed: one struct per heading of the help, one field per option.
//!
//! Names, short letters and defaults are pywebsocket's; the last heading is our own.
//! Nothing is looked up or checked here beyond the form of a value.
#![allow(clippy::doc_markdown, reason = "the comments on fields are the help's text, read in a terminal")]

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::OsStringValueParser;
use clap::builder::TypedValueParser;

use super::names::OWN_HEADING;
use super::value;
use crate::config::{
    DEFAULT_BACKLOG, DEFAULT_LOG_COUNT, DEFAULT_LOG_MAX, DEFAULT_MAX_MESSAGE_SIZE,
    DEFAULT_MAX_TOTAL_MESSAGE_SIZE, DEFAULT_PORT, LogFormat, LogLevel,
};

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
    /// TLS.
    #[command(flatten)]
    pub tls: TlsOptions,
    /// Which requests are let in.
    #[command(flatten)]
    pub policy: PolicyOptions,
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
    /// File to read options from, in INI form: section [pywebsocket], lines of OPTION = VALUE. The command
    /// line wins. An option without a value is switched on by any value
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub config: Option<PathBuf>,
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
#[command(next_help_heading = "Files and CGI programs")]
pub struct FileOptions {
    /// Directory of the files to serve over HTTP; becomes the working directory
    #[arg(short, long, alias = "document_root", value_name = "DIR", default_value = ".", value_parser = path())]
    pub document_root: PathBuf,
    /// Directories below the document root whose executable files are run as CGI programs, comma separated,
    /// such as /cgi,/htbin
    #[arg(short = 'x', long, alias = "cgi_paths", value_name = "PATHS")]
    pub cgi_paths: Option<String>,
}

/// TLS. Relative paths count from the document root.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS (relative paths count from the document root)")]
pub struct TlsOptions {
    /// Serve wss:// and https:// instead of ws:// and http://
    #[arg(short, long)]
    pub tls: bool,
    /// PEM file of the private key; may be the certificate's
    #[arg(short = 'k', long, alias = "private_key", value_name = "FILE", value_parser = path())]
    pub private_key: Option<PathBuf>,
    /// PEM file of the certificate and the chain that signs it
    #[arg(short, long, value_name = "FILE", value_parser = path())]
    pub certificate: Option<PathBuf>,
    /// Require a certificate of each client
    #[arg(long, alias = "tls_client_auth")]
    pub tls_client_auth: bool,
    /// With --tls-client-auth, take clients without a certificate, too
    #[arg(long, alias = "tls_client_cert_optional")]
    pub tls_client_cert_optional: bool,
    /// PEM file of the CA certificates that clients' certificates are checked against
    #[arg(long, alias = "tls_client_ca", value_name = "FILE", value_parser = path())]
    pub tls_client_ca: Option<PathBuf>,
}

/// Which requests are let in.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct PolicyOptions {
    /// Host that a request for an absolute URI must name to reach a handler [default: any]
    #[arg(short = 'V', long, alias = "validation_host", value_name = "HOST")]
    pub validation_host: Option<String>,
    /// Port that a request for an absolute URI must name to reach a handler [default: any]
    #[arg(
        short = 'P', long, alias = "validation_port", value_name = "PORT", allow_negative_numbers = true,
        value_parser = value::port_in_target
    )]
    pub validation_port: Option<u16>,
    /// Ask for Basic authentication
    #[arg(long, alias = "basic_auth")]
    pub basic_auth: bool,
    /// What --basic-auth asks for
    #[arg(long, alias = "basic_auth_credential", value_name = "USER:PASSWORD", default_value = "test:test")]
    pub basic_auth_credential: String,
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
    /// Least severe records to write of the loggers of permessage-deflate
    #[arg(
        long, alias = "deflate_log_level", value_name = "LEVEL", default_value = "warn",
        value_parser = value::deflate_log_level()
    )]
    pub deflate_log_level: LogLevel,
    /// Size that the log file does not reach: it is rotated to FILE.1 before; 0 or less: never
    #[arg(
        long, alias = "log_max", value_name = "BYTES", allow_negative_numbers = true,
        default_value_t = i64::try_from(DEFAULT_LOG_MAX).unwrap_or(i64::MAX), value_parser = value::integer
    )]
    pub log_max: i64,
    /// How many rotated files are kept; 0 or less: the log is not rotated
    #[arg(
        long, alias = "log_count", value_name = "COUNT", allow_negative_numbers = true,
        default_value_t = DEFAULT_LOG_COUNT.into(), value_parser = value::integer
    )]
    pub log_count: i64,
    /// How often to log the running threads, at level info; 0 or less: never
    #[arg(
        long, alias = "thread_monitor_interval_in_sec", value_name = "SECONDS", allow_negative_numbers = true,
        default_value_t = -1, value_parser = value::integer
    )]
    pub thread_monitor_interval_in_sec: i64,
}

/// What pywebsocket does not have.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = OWN_HEADING)]
pub struct ServerOptions {
    /// Serve TLS with a certificate for localhost that is made at the start, and print its fingerprint
    #[arg(long, alias = "tls_self_signed")]
    pub tls_self_signed: bool,
    /// Open file descriptor of a socket that listens already, TCP or Unix, to accept connections on instead of
    /// --server-host and --port. What systemd passes (LISTEN_FDS) is used without being asked for
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = value::descriptor)]
    pub fd: Option<i32>,
    /// Unix socket to listen on instead of --server-host and --port, relative to where wshost was started
    #[arg(long, value_name = "PATH", conflicts_with = "fd", value_parser = path())]
    pub unix: Option<PathBuf>,
    /// Form of the log: lines of text, or one JSON object a line
    #[arg(
        long, alias = "log_format", value_name = "FORMAT", default_value = "text",
        value_parser = value::log_format()
    )]
    pub log_format: LogFormat,
    /// Answer 404 for handler sources (*_wsh.py) instead of serving them as files
    #[arg(long, alias = "hide_handlers")]
    pub hide_handlers: bool,
    /// Load handlers once, at the start, and do not watch their files
    #[arg(long, alias = "no_reload")]
    pub no_reload: bool,
    /// How long files must be quiet before a change is loaded
    #[arg(
        long, alias = "reload_delay", value_name = "MS", allow_negative_numbers = true,
        default_value = "5", value_parser = value::milliseconds
    )]
    pub reload_delay: Duration,
    /// Look at the handler files this often instead of watching them, for file systems that do not tell of changes
    #[arg(long, alias = "reload_poll", value_name = "SECONDS", value_parser = value::positive_seconds)]
    pub reload_poll: Option<Duration>,
    /// Serve a status page on this address, such as 127.0.0.1:9999: handlers, connections, reloads, throughput and
    /// log. An address that other machines reach needs a token, which is made and printed unless --status-token
    /// gives one
    #[arg(long, value_name = "HOST:PORT", value_parser = value::status_address)]
    pub status: Option<(String, u16)>,
    /// What to ask of those who look at the status page: letters, digits, "-" and "_"
    #[arg(long, alias = "status_token", value_name = "TOKEN", requires = "status", value_parser = value::token)]
    pub status_token: Option<String>,
    /// File to write the ready line to when the server listens, relative to where wshost was started
    #[arg(long, alias = "ready_file", value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Open file descriptor to write the ready line to, and to close then
    #[arg(
        long, alias = "ready_fd", value_name = "N", allow_negative_numbers = true,
        value_parser = value::descriptor
    )]
    pub ready_fd: Option<i32>,
    /// How long a stop waits for open connections
    #[arg(
        long, value_name = "SECONDS", allow_negative_numbers = true,
        default_value = "5", value_parser = value::seconds
    )]
    pub grace: Duration,
    /// How long a client may take to send a request head
    #[arg(
        long, alias = "head_timeout", value_name = "SECONDS", allow_negative_numbers = true,
        default_value = "30", value_parser = value::positive_seconds
    )]
    pub head_timeout: Duration,
    /// How long a client may take nothing of a file, an error page or a CGI script's output
    #[arg(
        long, alias = "write_timeout", value_name = "SECONDS", allow_negative_numbers = true,
        default_value = "60", value_parser = value::positive_seconds
    )]
    pub write_timeout: Duration,
    /// Largest message that a handler receives, counted after inflating; a larger one is closed with 1009
    #[arg(
        long, alias = "max_message_size", value_name = "BYTES", default_value_t = DEFAULT_MAX_MESSAGE_SIZE,
        allow_negative_numbers = true, value_parser = value::size
    )]
    pub max_message_size: u64,
    /// How many bytes all messages that are being received may have together, inflated or not; the one that exceeds it is
    /// closed with 1009
    #[arg(
        long, alias = "max_total_message_size", value_name = "BYTES",
        default_value_t = DEFAULT_MAX_TOTAL_MESSAGE_SIZE, allow_negative_numbers = true, value_parser = value::size
    )]
    pub max_total_message_size: u64,
    /// File to append the bytes of each connection of a handler to, credentials and all (docs/trace.md), relative to
    /// where wshost was started; not under the document root
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub trace: Option<PathBuf>,
    /// How long a client may be silent, while a handler waits for it, before it is sent a ping; 0: for ever
    #[arg(
        long, alias = "ping_interval", value_name = "SECONDS", allow_negative_numbers = true,
        default_value = "0", value_parser = value::seconds
    )]
    pub ping_interval: Duration,
    /// How long it may be silent after the ping before it counts as gone
    #[arg(
        long, alias = "ping_timeout", value_name = "SECONDS", allow_negative_numbers = true,
        default_value = "20", value_parser = value::positive_seconds
    )]
    pub ping_timeout: Duration,
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
