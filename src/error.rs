//! Errors by their consequence.
//!
//! A [`StartError`] ends the program before it serves: one line on stderr, exit code 1. Everything later
//! costs one connection at most and is reported where it happens (`server::ending` has the status of each
//! end without a handler, `bridge::run::dispatch` the close code of what a handler raises).

mod passed;
mod python;
mod scaffold;
mod tls;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

pub use passed::PassedError;
pub use python::PythonError;
pub use scaffold::ScaffoldError;
pub use tls::{MIN_RSA_BITS, TlsFileError, TlsOptionsError};

use crate::descriptors::NotWritable;

/// Why the server could not start. The text says what, where and what to do; the exit code is 1.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory that an option names is not there or cannot be read.
    #[error("{option} {}: {source}; name a directory that exists and can be read", path.display())]
    Directory {
        /// The option, as typed (`--document-root`).
        option: &'static str,
        /// The directory it names.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory that an option names by a relative path is not there: people forget from where that counts.
    #[error(
        "{option} {}: {source}; looked for at {}: a relative path counts from --document-root",
        typed.display(), path.display()
    )]
    RelativeDirectory {
        /// The option, as typed (`--websock-handlers`).
        option: &'static str,
        /// The directory as typed.
        typed: PathBuf,
        /// Where that is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The scan directory does not lie under the handler root (pywebsocket refuses this, too).
    #[error("--scan-dir {}: must be a directory under --websock-handlers {}", scan.display(), root.display())]
    ScanOutsideRoot {
        /// The scan directory.
        scan: PathBuf,
        /// The handler root.
        root: PathBuf,
    },
    /// A file that an option names cannot be opened.
    #[error("{option} {}: {source}; check the path and its permissions", path.display())]
    File {
        /// The option, as typed (`--log-file`).
        option: &'static str,
        /// The file it names.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A FIFO has no reader.
    #[error("{option} {}: nobody reads this FIFO; start its reader first, or name a file", path.display())]
    Unread {
        /// The option, as typed (`--log-file`).
        option: &'static str,
        /// The FIFO it names.
        path: PathBuf,
    },
    /// A file with secrets would be served.
    #[error("{option} {}: clients could fetch it, it lies under --document-root or has a hard link that may; name a file elsewhere", path.display())]
    Served {
        /// The option, as typed (`--trace`).
        option: &'static str,
        /// The file it names.
        path: PathBuf,
    },
    /// Options for TLS that do not go together.
    #[error(transparent)]
    Tls(TlsOptionsError),
    /// The host's name has no address.
    #[error("--server-host {host}: {source}; name a host that resolves, or an address of this machine")]
    Resolve {
        /// The host as typed.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Python has no codec of this name.
    #[error("--handler-encoding {0}: Python knows no such encoding; name one of its codecs, such as utf-8")]
    Encoding(String),
    /// No address could be listened on.
    #[error("cannot listen on {address}: {source}; {hint}")]
    Listen {
        /// The address, port included.
        address: String,
        /// What the system said.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// A certificate or key cannot be used.
    #[error("{option} {}: {problem}", path.display())]
    TlsFile {
        /// The option, as typed (`--certificate`).
        option: &'static str,
        /// The file it names.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: TlsFileError,
    },
    /// The certificate of `--tls-self-signed` could not be made.
    #[error("--tls-self-signed: {0}; give certificate files with --certificate and --private-key")]
    SelfSigned(Box<dyn Error + Send + Sync>),
    /// A file descriptor cannot be listened on.
    #[error("file descriptor {fd}: {problem}; pass a socket that listens, with --fd or as systemd does")]
    Descriptor {
        /// The descriptor.
        fd: i32,
        /// What is wrong with it.
        problem: PassedError,
    },
    /// The ready file could not be written.
    #[error("--ready-file {}: {source}; name a file in a folder that can be written", path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The ready descriptor is none that can be written to.
    #[error("--ready-fd {number}: {problem}")]
    ReadyDescriptor {
        /// The descriptor.
        number: i32,
        /// What is wrong with it, and what to do.
        problem: NotWritable,
    },
    /// The ready descriptor took nothing.
    #[error("--ready-fd {number}: {source}; keep its other end open until two lines have come")]
    ReadyUnread {
        /// The descriptor.
        number: i32,
        /// What the system said.
        source: io::Error,
    },
    /// The file watcher could not be started.
    #[error("cannot watch {} for changes: {reason}; start with --no-reload to serve without hot reload", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The compatible packages could not be written.
    #[error("vendor {}: {source}; name a directory that exists and can be written", path.display())]
    Vendor {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `wshost new` could not write a file.
    #[error("new: {0}")]
    New(ScaffoldError),
    /// `wshost check` could not explain or convert a file: what Python said.
    #[error("check: {0}")]
    Examine(String),
    /// `wshost check` got an explanation of a file that is none.
    #[error("check: {0}")]
    Explanation(serde_json::Error),
    /// `wshost replay` has nothing to replay, or nobody to replay it to.
    #[error("replay: {0}")]
    Replay(Box<dyn Error + Send + Sync>),
    /// Python could not be started.
    #[error("cannot start Python: {0}")]
    Python(PythonError),
    /// The runtime could not be started.
    #[error("cannot start the server's threads: {0}; check the limit on processes (ulimit -u)")]
    Runtime(io::Error),
}

impl StartError {
    /// A file cannot be opened to be written, without waiting.
    #[must_use]
    pub fn writing(option: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        // What a FIFO says that nobody reads.
        if source.raw_os_error() == Some(libc::ENXIO) {
            Self::Unread { option, path }
        } else {
            Self::File { option, path, source }
        }
    }
}
