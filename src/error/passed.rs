//! What is wrong with a socket that was passed. Must not import anything of the crate.

use std::io;

/// Why a descriptor that was passed cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    /// Nobody has opened it.
    #[error("not open in this process")]
    NotOpen,
    /// It is a file, a pipe or the like.
    #[error("not a socket")]
    NoSocket,
    /// It is a connection, or has no connections.
    #[error("not a stream socket that listens")]
    NotListening,
    /// It listens, and not where clients of ours come from.
    #[error("neither a TCP nor a Unix socket")]
    OtherFamily,
    /// The system said no.
    #[error(transparent)]
    System(#[from] io::Error),
}
