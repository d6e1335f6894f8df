//! Why nothing is replayed, or a connection is not. Must not import anything of the crate but `error`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::printable::printable;
use crate::error::StartError;

/// Ends the program before it has told about all connections.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayError {
    /// The file is none that `--trace` wrote, or is too large.
    #[error("{}: {problem}", file.display())]
    Recording {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: RecordingError,
    },
    /// `--connection` names none.
    #[error("{}: no connection {number}; it has those from 1 to {count}", file.display())]
    NoConnection {
        /// The file.
        file: PathBuf,
        /// The one that was asked for.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// Records of every connection were dropped.
    #[error("{}: no connection without a gap; record again", file.display())]
    OnlyGaps {
        /// The file.
        file: PathBuf,
    },
    /// TLS cannot be had at all.
    #[error(transparent)]
    Tls(rustls::Error),
    /// There is nobody to replay it to.
    #[error("{}", printable(&.0.to_string()))]
    NoServer(ConnectError),
    /// A recorded pause is too long.
    #[error("a pause of {pause} s is recorded, and --timing keeps {most} s at most; leave it out")]
    Pause {
        /// Its length, in seconds.
        pause: u64,
        /// The longest that is kept, in seconds.
        most: u64,
    },
}

impl ReplayError {
    /// As what ends the program. No `From`: `?` on a `StartError` would not know its type in other files.
    pub(super) fn end(self) -> StartError {
        StartError::Replay(self.into())
    }
}

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordingError {
    /// It cannot be read.
    #[error("{0}; name a file that --trace wrote")]
    Read(io::Error),
    /// A line is longer than any that `--trace` writes.
    #[error("line {line} is longer than {most} bytes; name a file that --trace wrote")]
    LongLine {
        /// The line's number.
        line: usize,
        /// The longest that is taken, in bytes.
        most: u64,
    },
    /// A line is no record, or does not fit those before it.
    #[error("line {line}: {problem}; record again, or delete the line")]
    Line {
        /// The line's number.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It takes too much memory.
    #[error("more than {most} bytes are recorded up to line {line}; replay a part of it")]
    TooLarge {
        /// The number of the line that was too much.
        line: usize,
        /// The most that is kept, in bytes.
        most: usize,
    },
    /// There is nothing in it.
    #[error("no connection is recorded in it; record one with --trace")]
    Empty,
}

/// Why a server cannot be had a connection with: the first time that ends the program, later only the connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// It is not there.
    #[error("cannot connect to {host} port {port}: {source}; start the server, or check the URL")]
    Unreachable {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// It is there, and speaks no TLS with us.
    #[error("no TLS with {host} port {port}: {source}; check the URL and --ca, or trust any with --insecure")]
    NoTls {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
        /// What went wrong.
        source: io::Error,
    },
    /// It is there, and does not answer.
    #[error("no TLS with {host} port {port}: no answer within {} s; check the URL", limit.as_secs_f64())]
    Silent {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
        /// How long it had.
        limit: Duration,
    },
}
