//! What makes a file a script: where it lies, and that it may be executed.
//!
//! Must not import tokio or pyo3.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Where that is said. pywebsocket reads it out of the server's options again for each request, so programs that
/// serve in their own process may change it meanwhile. The methods may wait, but for [`Self::is_off`].
pub trait ScriptRules: Send + Sync + 'static {
    /// Whether there are no scripts, now and later.
    fn is_off(&self) -> bool {
        false
    }

    /// The directories of scripts as paths of requests (`/cgi-bin`); what does not begin with a slash, or ends
    /// with one, matches nothing, as in pywebsocket.
    fn directories(&self) -> Result<Vec<String>, RulesError>;

    /// Whether the file `path` in one of them is a program.
    fn is_executable(&self, path: &Path) -> Result<bool, RulesError>;

    /// The environment that scripts inherit.
    fn environment(&self) -> Vec<(OsString, OsString)>;
}

/// It could not be found out whether a file is a script; the text says why. Its source must not be shown.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RulesError(pub String);

/// Whether the file `path` may be executed, by whomever.
#[must_use]
pub fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

/// The same directories, and permissions of the file system, for all requests.
#[derive(Debug, Clone)]
pub struct FixedRules {
    directories: Vec<String>,
    environment: Vec<(OsString, OsString)>,
}

impl FixedRules {
    /// Scripts in `directories`, each inheriting the environment of now: what is changed in it later is changed
    /// by C functions that must not run while another thread reads it.
    #[must_use]
    pub fn new(directories: Vec<String>) -> Self {
        Self { directories, environment: env::vars_os().collect() }
    }
}

impl ScriptRules for FixedRules {
    fn is_off(&self) -> bool {
        self.directories.is_empty()
    }

    fn directories(&self) -> Result<Vec<String>, RulesError> {
        Ok(self.directories.clone())
    }

    fn is_executable(&self, path: &Path) -> Result<bool, RulesError> {
        Ok(is_program(path))
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        self.environment.clone()
    }
}
