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

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed = Result<Option<(u16, &'static str)>, CloseBodyError>;

    #[test]
    fn codes_that_may_be_sent() {
        let cases = [
            (i64::MIN, Err(CloseCodeError::OutOfRange)),
            (-1, Err(CloseCodeError::OutOfRange)),
            (0, Err(CloseCodeError::OutOfRange)),
            (999, Err(CloseCodeError::OutOfRange)),
            (1000, Ok(vec![0x03, 0xe8])),
            (1004, Ok(vec![0x03, 0xec])),
            (1005, Err(CloseCodeError::Reserved)),
            (1006, Err(CloseCodeError::Reserved)),
            (1007, Ok(vec![0x03, 0xef])),
            (1014, Ok(vec![0x03, 0xf6])),
            (1015, Err(CloseCodeError::Reserved)),
            (1016, Ok(vec![0x03, 0xf8])),
            (2999, Ok(vec![0x0b, 0xb7])),
            (4999, Ok(vec![0x13, 0x87])),
            (5000, Err(CloseCodeError::OutOfRange)),
            (65536 + 1000, Err(CloseCodeError::OutOfRange)),
            (i64::MAX, Err(CloseCodeError::OutOfRange)),
        ];
        for (code, body) in cases {
            assert_eq!(encode_body(Some(code), ""), body, "code {code}");
        }
    }

    #[test]
    fn reason_follows_the_code_in_utf_8() {
        assert_eq!(encode_body(Some(1000), "bye"), Ok(b"\x03\xe8bye".to_vec()));
        assert_eq!(encode_body(Some(3000), "tschüß"), Ok(b"\x0b\xb8tsch\xc3\xbc\xc3\x9f".to_vec()));
        assert_eq!(encode_body(None, "dropped"), Ok(Vec::new()));
        assert_eq!(encode_body(Some(1000), &"x".repeat(200)).map(|body| body.len()), Ok(202));
    }

    #[test]
    fn errors_read_as_in_pywebsocket() {
        assert_eq!(CloseCodeError::OutOfRange.to_string(), "Status code is out of range");
        assert_eq!(CloseCodeError::Reserved.to_string(), "Status code is reserved pseudo code");
        let text = "If a close frame has status code, the length of status code must be 2 octet";
        assert_eq!(CloseBodyError.to_string(), text);
    }

    #[test]
    fn bodies_that_arrive() {
        // The replacement characters are those of Python's bytes.decode('utf-8', 'replace').
        let cases: [(&[u8], Parsed); 10] = [
            (b"", Ok(None)),
            (b"\x03", Err(CloseBodyError)),
            (b"\x03\xe8", Ok(Some((1000, "")))),
            (b"\x03\xe8bye", Ok(Some((1000, "bye")))),
            (b"\x00\x00", Ok(Some((0, "")))),
            (b"\xff\xff\xe4\xb8\x96", Ok(Some((65535, "\u{4e16}")))),
            (b"\x03\xe8a\xffb", Ok(Some((1000, "a\u{fffd}b")))),
            (b"\x03\xe8\xe4\xb8", Ok(Some((1000, "\u{fffd}")))),
            (b"\x03\xe8\xed\xa0\x80", Ok(Some((1000, "\u{fffd}\u{fffd}\u{fffd}")))),
            (b"\x03\xe8\xf0\x9f\x92x\xc0\x80", Ok(Some((1000, "\u{fffd}x\u{fffd}\u{fffd}")))),
        ];
        for (body, expected) in cases {
            let parsed = parse_body(body);
            let parsed =
                parsed.as_ref().map(|parsed| parsed.as_ref().map(|(code, reason)| (*code, reason.as_str())));
            assert_eq!(parsed, expected.as_ref().copied(), "{body:02x?}");
        }
    }
}
