//! What the server was asked to do, as plain data.
//!
//! `cli` fills it in, everything else only reads it. Each field says its default and why;
//! [`Default`] gives them to programs that start a server in their own process. Must not import anything of
//! the crate.

use std::path::PathBuf;
use std::time::Duration;

/// TCP port, pywebsocket's default.
pub const DEFAULT_PORT: u16 = 80;
/// Connections that the kernel holds until they are accepted, pywebsocket's default.
pub const DEFAULT_BACKLOG: i32 = 128;
/// Largest message, in bytes.
pub const DEFAULT_MAX_MESSAGE_SIZE: u64 = 256 * 1024 * 1024;

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
    /// Where handlers come from.
    pub handlers: HandlersConfig,
    /// What is logged, and where to.
    pub log: LogConfig,
    /// How programs learn that the listeners are up.
    pub ready: ReadyConfig,
    /// How long a stop waits for connections that are still open. Default 5 s.
    pub grace: Duration,
    /// How long a client may take to send a request head. Default 30 s. A handler's own opening handshake
    /// is never timed.
    pub head_timeout: Duration,
    /// Largest message, in bytes and after inflating, that `receive_message` builds. Default 256 MiB;
    /// a larger one ends the connection with 1009. pywebsocket has no limit.
    pub max_message_size: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ListenConfig::default(),
            document_root: PathBuf::from("."),
            handlers: HandlersConfig::default(),
            log: LogConfig::default(),
            ready: ReadyConfig::default(),
            grace: Duration::from_secs(5),
            head_timeout: Duration::from_secs(30),
            max_message_size: DEFAULT_MAX_MESSAGE_SIZE,
        }
    }
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
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self { host: None, port: DEFAULT_PORT, backlog: DEFAULT_BACKLOG }
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
        }
    }
}

/// What is logged, and where to.
#[derive(Debug, Clone, Default)]
pub struct LogConfig {
    /// Least severe level that is written. Default `warn`, as pywebsocket.
    pub level: LogLevel,
    /// File that the log is appended to. Default `None`: stderr (pywebsocket: `-l`).
    pub file: Option<PathBuf>,
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

/// How programs learn that the listeners are up.
#[derive(Debug, Clone, Default)]
pub struct ReadyConfig {
    /// File that gets the ready line, written whole and then renamed into place. Default none. Relative to
    /// the directory that the program was started in, not to the document root.
    pub file: Option<PathBuf>,
    /// Open file descriptor that gets the ready line and is closed then. Default none.
    pub fd: Option<i32>,
}
