//! What all connections of a server share.
//!
//! Must not import `bridge` or pyo3.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::script::Scripts;
use super::tls::Tls;
use crate::handover::HandlerHost;
use crate::http::{Files, PolicySource};
use crate::trace::Trace;

/// What all connections share.
pub(super) struct Context {
    /// The files that are served where there is no handler.
    pub(super) files: Files,
    /// The server's name and port as configured.
    pub(super) local: (String, u16),
    /// TLS, if that is what clients speak here.
    pub(super) tls: Option<Arc<Tls>>,
    /// How long a client may take for a request head, and for a TLS handshake.
    pub(super) head_timeout: Duration,
    /// How long a client may take nothing of a response.
    pub(super) write_timeout: Duration,
    /// Where the connections of handlers are recorded.
    pub(super) trace: Option<Arc<Trace>>,
    /// The handlers.
    pub(super) host: Arc<dyn HandlerHost>,
    /// The CGI scripts.
    pub(super) scripts: Scripts,
    /// What is demanded of each request.
    pub(super) policy: Arc<dyn PolicySource>,
    /// Cancelled when the server stops.
    pub(super) stop: CancellationToken,
}
