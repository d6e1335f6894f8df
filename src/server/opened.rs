//! What a server opens before it serves: certificates, and the file of `--trace`.
//!
//! Must not import `bridge` or pyo3.

use std::sync::Arc;

use super::tls::Tls;
use crate::config::Config;
use crate::error::StartError;
use crate::trace::Trace;

/// What was opened.
pub(super) struct Opened {
    /// TLS, if that is what clients speak here.
    pub(super) tls: Option<Arc<Tls>>,
    /// Where the connections of handlers are recorded.
    pub(super) trace: Option<Arc<Trace>>,
}

impl Opened {
    /// Opens what `config` names. Waits for the file system.
    pub(super) fn open(config: &Config) -> Result<Self, StartError> {
        let trace = |path| Trace::open(path).map(Arc::new);
        Ok(Self { tls: load_tls(config)?, trace: config.trace.as_deref().map(trace).transpose()? })
    }
}

/// Whether the certificates that `config` names can be used, for those who want to know before
/// [`run`](crate::server::run).
pub fn check_certificates(config: &Config) -> Result<(), StartError> {
    load_tls(config).map(drop)
}

fn load_tls(config: &Config) -> Result<Option<Arc<Tls>>, StartError> {
    config.tls.as_ref().map(|tls| Tls::load(tls).map(Arc::new)).transpose()
}
