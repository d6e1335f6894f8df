//! What is logged of each request that is no handler's, in pywebsocket's words.

use std::net::SocketAddr;

use crate::http::reason_phrase;
use crate::logging::LOG_REQUEST;

/// The line for a response.
pub(super) fn log_request(request_line: &str, status: u16) {
    tracing::info!(target: LOG_REQUEST, "{request_line:?} {status} -");
}

/// The two lines for an error page.
pub(super) fn log_refusal(peer: SocketAddr, request_line: &str, status: u16, message: Option<&str>) {
    // What the client sent is escaped in it already, as Python's repr.
    let message = message.unwrap_or_else(|| reason_phrase(status));
    tracing::warn!(target: LOG_REQUEST, "{} - code {status}, message {message}", peer.ip());
    log_request(request_line, status);
}
