//! What ends a connection that no handler takes over, and what its client is told.
//!
//! Must not import `bridge` or pyo3.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use super::access_log::{log_refusal, log_request};
use crate::http::{
    FileError, FramingError, Rejection, RequestHead, error_page, error_response, unauthorized,
};
use crate::logging::LOG_REQUEST;

/// What a client gets that speaks HTTP where TLS is spoken.
const USE_TLS: &str = "This port speaks TLS; use https:// or wss:// instead of http:// or ws://";

/// What ends a connection, by what its client is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing: it has its answer, or is gone, or the log says why there is no answer.
    Silent,
    /// 400: it speaks HTTP where TLS is spoken.
    NoTls,
    /// 400: a handler's resource has a fragment.
    Fragment,
    /// 400: what it sent cannot be told to a script.
    NotForScripts,
    /// 400 and others: it sent no request head.
    Head(Box<Rejection>),
    /// 400 or 501: others may see another end of the request.
    Framing(FramingError),
    /// 401: it did not say who it is.
    Unauthorized,
    /// 404 or 501: there is no file for it.
    File(FileError),
    /// 408: no whole request head came within this time.
    SlowHead(Duration),
    /// 408: the body for a script did not come in time.
    SlowBody,
    /// 411: a script must know how long the body is.
    NoLength,
    /// 502: a script cannot be run, or gives no response.
    ScriptFailed,
    /// 503: too many scripts are running.
    ManyScripts,
}

impl Ending {
    /// The status that the client gets; `None`: it gets nothing.
    pub(super) fn status(&self) -> Option<u16> {
        Some(match self {
            Self::Silent => return None,
            Self::NoTls | Self::Fragment | Self::NotForScripts => 400,
            Self::Head(rejection) => rejection.status,
            Self::Framing(error) => error.status,
            Self::Unauthorized => 401,
            Self::File(error) => error.status(),
            Self::SlowHead(_) | Self::SlowBody => 408,
            Self::NoLength => 411,
            Self::ScriptFailed => 502,
            Self::ManyScripts => 503,
        })
    }

    /// The reason phrase; `None`: the standard one.
    fn message(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Head(rejection) => rejection.message.as_deref().map(Cow::from),
            Self::Framing(error) => Some(error.message.into()),
            Self::File(error) => Some(error.to_string().into()),
            _ => None,
        }
    }

    /// The bytes that the client gets for its request `head`, if it sent one; none: nothing.
    pub(super) fn response(&self, head: Option<&RequestHead>) -> Vec<u8> {
        let Some(status) = self.status() else { return Vec::new() };
        let message = self.message();
        match (self, head) {
            (Self::Head(rejection), _) => rejection.response(),
            (Self::NoTls, _) => error_page(status, None, Some(USE_TLS), false),
            (Self::Unauthorized, Some(head)) => unauthorized(&head.protocol),
            (_, Some(head)) => error_response(&head.protocol, &head.method, status, message.as_deref(), None),
            (_, None) => error_page(status, message.as_deref(), None, false),
        }
    }

    /// Writes to the log what the client `peer` is told about its request `head`.
    pub(super) fn log(&self, peer: SocketAddr, head: Option<&RequestHead>) {
        let Some(status) = self.status() else { return };
        let line = head.map(RequestHead::request_line).unwrap_or_default();
        match self {
            Self::NoTls => tracing::warn!(target: LOG_REQUEST, "{}: a request without TLS", peer.ip()),
            Self::SlowHead(limit) => {
                tracing::info!(target: LOG_REQUEST, "{}: no whole request within {limit:?}", peer.ip());
            }
            Self::Unauthorized => {
                log_request(&line, status);
                tracing::info!(target: LOG_REQUEST, "Request basic authentication");
            }
            Self::Head(rejection) => {
                log_refusal(peer, &rejection.request_line, status, self.message().as_deref());
            }
            _ => log_refusal(peer, &line, status, self.message().as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_tells_its_status_or_nothing() {
        for (ending, expected) in [
            (Ending::NoTls, "HTTP/1.0 400 Bad Request\r\n"),
            (Ending::SlowHead(Duration::ZERO), "HTTP/1.0 408 Request Timeout\r\n"),
            (Ending::NoLength, "HTTP/1.0 411 Length Required\r\n"),
            (Ending::File(FileError::Unreadable), "HTTP/1.0 404 No permission to list directory\r\n"),
            (Ending::Framing(FramingError { status: 400, message: "Bad Host" }), "HTTP/1.0 400 Bad Host\r\n"),
            (Ending::Silent, ""),
        ] {
            let response = String::from_utf8(ending.response(None)).expect("UTF-8");
            assert!(response.starts_with(expected), "{ending:?}: {response}");
            assert_eq!(response.is_empty(), ending.status().is_none(), "{ending:?}");
        }
    }
}
