//! The body of close frames (RFC 6455 section 5.5.1) and which codes may stand in it.
//!
//! Must not import tokio or pyo3.

use std::ops::RangeInclusive;

use thiserror::Error;

/// Codes that may be sent, but for [`PSEUDO_CODES`].
const SENDABLE_CODES: RangeInclusive<i64> = 1000..=4999;

/// Codes that name what happened and never go over the wire (RFC 6455 section 7.4.1):
/// no status received, abnormal closure, TLS handshake failed.
const PSEUDO_CODES: [i64; 3] = [1005, 1006, 1015];

/// A code that must not be sent. The messages are pywebsocket's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CloseCodeError {
    /// Not in 1000..=4999.
    #[error("Status code is out of range")]
    OutOfRange,
    /// 1005, 1006 or 1015.
    #[error("Status code is reserved pseudo code")]
    Reserved,
}

/// A close frame whose body is a single byte. The message is pywebsocket's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("If a close frame has status code, the length of status code must be 2 octet")]
pub struct CloseBodyError;

/// The body of a close frame with `code` and `reason`; without a code it is empty, whatever the reason is.
///
/// How long a control frame may be is not judged here (the reason may have 123 bytes, RFC 6455 section 5.5).
pub fn encode_body(code: Option<i64>, reason: &str) -> Result<Vec<u8>, CloseCodeError> {
    let Some(code) = code else {
        return Ok(Vec::new());
    };
    let wire_code = u16::try_from(code)
        .ok()
        .filter(|_| SENDABLE_CODES.contains(&code))
        .ok_or(CloseCodeError::OutOfRange)?;
    if PSEUDO_CODES.contains(&code) {
        return Err(CloseCodeError::Reserved);
    }
    let mut body = Vec::with_capacity(2 + reason.len());
    body.extend_from_slice(&wire_code.to_be_bytes());
    body.extend_from_slice(reason.as_bytes());
    Ok(body)
}

/// Code and reason of a received close frame, `None` when its body is empty.
///
/// pywebsocket: any code is accepted, and bytes of the reason that are not UTF-8 become U+FFFD, though RFC 6455
/// section 7.4 limits the codes and section 8.1 wants the connection to fail.
pub fn parse_body(body: &[u8]) -> Result<Option<(u16, String)>, CloseBodyError> {
    match body {
        [] => Ok(None),
        [_] => Err(CloseBodyError),
        [high, low, reason @ ..] => {
            let reason = String::from_utf8_lossy(reason).into_owned();
            Ok(Some((u16::from_be_bytes([*high, *low]), reason)))
        }
    }
}
