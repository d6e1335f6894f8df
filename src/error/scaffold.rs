//! Why `wshost new` writes nothing. Must not import anything of the crate.

use std::io;
use std::path::PathBuf;

/// Why `wshost new` writes nothing, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// There is a file of the name.
    #[error("{}: is there already; take another name or delete it", .0.display())]
    Exists(PathBuf),
    /// The system said no.
    #[error("{}: {source}; name a folder that can be written with --into", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
