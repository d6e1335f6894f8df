//! What the server was asked to do, as plain data.
//!
//! `cli` fills it in, everything else only reads it. Each field says its default and why;
//! [`Default`] gives them to programs that start a server in their own process. Must not import anything of
//! the crate but `error`.
//!
//! - `tls` – the certificate, and those of clients

mod tls;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use subtle::ConstantTimeEq as _;

pub use tls::{ClientAuth, TlsConfig, TlsParts};

/// TCP port, pywebsocket's default.
pub const DEFAULT_PORT: u16 = 80;
/// Connections that the kernel holds until they are accepted, pywebsocket's default.
pub const DEFAULT_BACKLOG: i32 = 128;
/// Largest message, in bytes.
pub const DEFAULT_MAX_MESSAGE_SIZE: u64 = 256 * 1024 * 1024;
/// What all messages that are being received may have together, in bytes.
pub const DEFAULT_MAX_TOTAL_MESSAGE_SIZE: u64 = 1024 * 1024 * 1024;
/// Size of the log file, in bytes, at which it is rotated, pywebsocket's default.
pub const DEFAULT_LOG_MAX: u64 = 256 * 1024;
/// Rotated log files that are kept, pywebsocket's default.
pub const DEFAULT_LOG_COUNT: u32 = 5;

/// How long, and with how many bytes, a client may go on sending after the end of what it gets: closed with bytes
/// unread, a connection is reset, and the client may lose what it has not read yet.
pub const LINGER_TIME: Duration = Duration::from_secs(5);
/// See [`LINGER_TIME`].
pub const LINGER_BYTES: u64 = 64 << 20;
/// How long such clients are still listened to once nothing else keeps the server from its stop.
pub const LINGER_AT_STOP: Duration = Duration::from_millis(500);

/// Everything that one server process needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: ListenConfig,
    /// Root of the files that are served over HTTP. Default: the working directory (pywebsocket: `-d`).
    ///
    /// pywebsocket changes the working directory to it first, so that relative paths of handlers, map file
    /// and log file count from here. The command line has made all of these absolute by that rule, and
    /// changes the directory too ([`crate::cli::enter_document_root`]), for handlers that open files.
    pub document_root: PathBuf,
    /// Whether handler sources (`*_wsh.py`) are kept from being served as files. Default no, as pywebsocket.
    pub hide_handlers: bool,
    /// Directories of CGI programs, as typed: paths of requests, below the document root (pywebsocket: `-x`,
    /// comma separated). Default none.
    pub cgi_directories: Vec<String>,
    /// TLS; `None` (default): plain HTTP and WebSocket.
    pub tls: Option<TlsConfig>,
    /// Which requests are let in.
    pub policy: PolicyConfig,
    /// Where handlers come from.
    pub handlers: HandlersConfig,
    /// What is logged, and where to.
    pub log: LogConfig,
    /// The file that the bytes of handlers' connections are recorded in. Default none.
    pub trace: Option<PathBuf>,
    /// How often the running handler threads are logged. Default `None`: never, as pywebsocket.
    pub thread_monitor: Option<Duration>,
    /// The status page; `None` (default): there is none.
    pub status: Option<StatusConfig>,
    /// How programs learn that the listeners are up.
    pub ready: ReadyConfig,
    /// How long a stop waits for connections that are still open. Default 5 s.
    pub grace: Duration,
    /// How long a client may take to send a request head. Default 30 s. A handler's own opening handshake
    /// is never timed.
    pub head_timeout: Duration,
    /// How long a client may take nothing of a response to a request that is for no handler. Default 60 s, as
    /// other servers of files.
    pub write_timeout: Duration,
    /// Largest message, in bytes and after inflating, that `receive_message` builds. Default 256 MiB;
    /// a larger one ends the connection with 1009. pywebsocket has no limit.
    pub max_message_size: u64,
    /// How many bytes the messages that are being received may have together, over all connections and as far as they have
    /// come, inflated or not. Default 1 GiB; the message that exceeds it ends its connection with 1009, so that the
    /// others can be finished. pywebsocket has no limit.
    pub max_total_message_size: u64,
    /// When to ask peers whether they are there. Default `None`, as pywebsocket: never.
    pub ping: Option<PingConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ListenConfig::default(),
            document_root: PathBuf::from("."),
            hide_handlers: false,
            cgi_directories: Vec::new(),
            tls: None,
            policy: PolicyConfig::default(),
            handlers: HandlersConfig::default(),
            log: LogConfig::default(),
            trace: None,
            thread_monitor: None,
            status: None,
            ready: ReadyConfig::default(),
            grace: Duration::from_secs(5),
            head_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            max_message_size: DEFAULT_MAX_MESSAGE_SIZE,
            max_total_message_size: DEFAULT_MAX_TOTAL_MESSAGE_SIZE,
            ping: None,
        }
    }
}

/// How peers that are gone without a word are found, while a handler waits for them. Both times are more than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingConfig {
    /// How long a peer may be silent before it is sent a ping.
    pub interval: Duration,
    /// How long it may be silent then before it counts as gone.
    pub timeout: Duration,
}

/// Where to listen.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// Host name or address; every address it resolves to is bound. `None` (default, pywebsocket: `-H ''`):
    /// every address of the machine, IPv6 and IPv4.
    pub host: Option<String>,
    /// TCP port; 0 takes a free one, the same for every address. Default 80, as pywebsocket.
    pub port: u16,
    /// Length of the kernel's queue of connections not yet accepted. Default 128, as pywebsocket (`-q`).
    pub backlog: i32,
    /// Open file descriptors of sockets that listen already (`--fd`, or systemd's `LISTEN_FDS`), instead of
    /// `host` and `port`. The server closes them. Default none.
    pub fds: Vec<i32>,
    /// Path of a Unix socket to listen on, absolute, instead of `host`, `port` and `fds`. Default none.
    pub unix: Option<PathBuf>,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self { host: None, port: DEFAULT_PORT, backlog: DEFAULT_BACKLOG, fds: Vec::new(), unix: None }
    }
}

/// Which requests are let in.
#[derive(Debug, Clone, Default)]
pub struct PolicyConfig {
    /// The host that a request target in absolute form must name to reach a handler. Default `None`: any
    /// (pywebsocket: `-V`).
    pub validation_host: Option<String>,
    /// The port that a request target in absolute form must name to reach a handler. Default `None`: any
    /// (pywebsocket: `-P`).
    pub validation_port: Option<u16>,
    /// The whole value that `Authorization` must have, `Basic` and the credential in base64. Default `None`:
    /// no authentication.
    pub basic_auth: Option<Secret>,
}

/// What a client must know. It can only be asked whether a text is the same, and `Debug` does not tell it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret `text`.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether `given` is the secret. How long the answer takes tells nothing about it but its length.
    #[must_use]
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// Where handlers come from and how they are read.
#[derive(Debug, Clone)]
pub struct HandlersConfig {
    /// Root of the handler files: resource `/a/b` is `ROOT/a/b_wsh.py`. Default `.` (pywebsocket: `-w`).
    pub root: PathBuf,
    /// Only files below this directory are looked at. Default: `root` (pywebsocket: `-s`).
    pub scan: PathBuf,
    /// Whether files whose canonical path lies outside `root` count, too. Default no.
    pub allow_outside_root: bool,
    /// Alias file, lines of `ALIAS RESOURCE`. Default none (pywebsocket: `-m`).
    pub map_file: Option<PathBuf>,
    /// Python codec that handler files are read with. Default `None`: the locale's, as pywebsocket.
    pub encoding: Option<String>,
    /// Whether saved files are loaded while the server runs. Default yes.
    pub reload: bool,
    /// How long the file system must be quiet before a change is loaded. Default 5 ms.
    pub reload_delay: Duration,
    /// How often files are looked at instead of being watched. Default `None`: they are watched.
    pub reload_poll: Option<Duration>,
}

impl Default for HandlersConfig {
    fn default() -> Self {
        Self {
            root: PathBuf::from("."),
            scan: PathBuf::from("."),
            allow_outside_root: false,
            map_file: None,
            encoding: None,
            reload: true,
            reload_delay: Duration::from_millis(5),
            reload_poll: None,
        }
    }
}

/// What is logged, and where to.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Least severe level that is written. Default `warn`, as pywebsocket.
    pub level: LogLevel,
    /// File that the log is appended to. Default `None`: stderr (pywebsocket: `-l`).
    pub file: Option<PathBuf>,
    /// Size of the file, in bytes, that it does not reach: it is rotated before. Default 256 KiB, as
    /// pywebsocket; 0: never rotated.
    pub max_size: u64,
    /// Rotated files that are kept, `FILE.1` the newest. Default 5, as pywebsocket; 0: never rotated.
    pub backups: u32,
    /// The form of a record. Default text.
    pub format: LogFormat,
    /// Least severe level that the loggers of the `permessage-deflate` extension write. Default `warn`, as
    /// pywebsocket.
    pub deflate_level: LogLevel,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: LogLevel::default(),
            file: None,
            max_size: DEFAULT_LOG_MAX,
            backups: DEFAULT_LOG_COUNT,
            format: LogFormat::default(),
            deflate_level: LogLevel::default(),
        }
    }
}

/// The form of a log record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// pywebsocket's line, `[time] [LEVEL] logger: message`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// pywebsocket's log levels, by their names on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Each step of each frame.
    Fine,
    /// Each step of each connection.
    Debug,
    /// Each request.
    Info,
    /// What is odd but harmless.
    #[default]
    Warning,
    /// What went wrong.
    Error,
    /// What ends the server.
    Critical,
}

impl LogLevel {
    /// The names that the command line takes, pywebsocket's, least severe first.
    pub const NAMES: [&str; 7] = ["fine", "debug", "info", "warning", "warn", "error", "critical"];

    /// The level of one of [`Self::NAMES`]; `None` for any other text.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "fine" => Self::Fine,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warning" | "warn" => Self::Warning,
            "error" => Self::Error,
            "critical" => Self::Critical,
            _ => return None,
        })
    }

    /// The name in log lines: that of Python's `logging`, and pywebsocket's own `FINE`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Fine => "FINE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

/// Where the status page is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusConfig {
    /// Host name or address.
    pub host: String,
    /// TCP port, never that of the handlers; 0 takes a free one.
    pub port: u16,
    /// What who looks at it must know. Default `None`: nothing on addresses of this machine alone, and on others
    /// a token that is made at the start.
    pub token: Option<String>,
}

/// How programs learn that the listeners are up.
#[derive(Debug, Clone, Default)]
pub struct ReadyConfig {
    /// File that gets the ready line, written whole and then renamed into place. Default none. Relative to
    /// the directory that the program was started in, not to the document root.
    pub file: Option<PathBuf>,
    /// Open file descriptor that gets the ready line and is closed then. Default none.
    pub fd: Option<i32>,
}
