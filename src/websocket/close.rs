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

/// A close frame that RFC 6455 does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CloseBodyError {
    /// The body is a single byte. The message is pywebsocket's.
    #[error("If a close frame has status code, the length of status code must be 2 octet")]
    OneByte,
    /// A code that nobody may send (RFC 6455 section 7.4): below 1000, reserved, or not assigned below 3000.
    #[error("Close code {0} must not be sent")]
    Code(u16),
    /// The reason is not UTF-8 (RFC 6455 section 5.5.1).
    #[error("Close reason is not UTF-8")]
    Reason,
}

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
/// Codes from 5000 on, of which RFC 6455 section 7.4 says nothing, are accepted.
pub fn parse_body(body: &[u8]) -> Result<Option<(u16, String)>, CloseBodyError> {
    match body {
        [] => Ok(None),
        [_] => Err(CloseBodyError::OneByte),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..) {
                return Err(CloseBodyError::Code(code));
            }
            let reason = std::str::from_utf8(reason).map_err(|_| CloseBodyError::Reason)?;
            Ok(Some((code, reason.to_owned())))
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
        assert_eq!(CloseBodyError::OneByte.to_string(), text);
    }

    #[test]
    fn bodies_that_arrive() {
        let cases: [(&[u8], Parsed); 9] = [
            (b"", Ok(None)),
            (b"\x03", Err(CloseBodyError::OneByte)),
            (b"\x03\xe8", Ok(Some((1000, "")))),
            (b"\x03\xe8bye", Ok(Some((1000, "bye")))),
            (b"\xff\xff\xe4\xb8\x96", Ok(Some((65535, "\u{4e16}")))),
            (b"\x03\xe8a\xffb", Err(CloseBodyError::Reason)),
            (b"\x03\xe8\xe4\xb8", Err(CloseBodyError::Reason)),
            (b"\x03\xe8\xed\xa0\x80", Err(CloseBodyError::Reason)),
            (b"\x03\xe8\xc0\x80", Err(CloseBodyError::Reason)),
        ];
        for (body, expected) in cases {
            let parsed = parse_body(body);
            let parsed =
                parsed.as_ref().map(|parsed| parsed.as_ref().map(|(code, reason)| (*code, reason.as_str())));
            assert_eq!(parsed, expected.as_ref().copied(), "{body:02x?}");
        }
    }

    #[test]
    fn codes_that_may_arrive() {
        let refused = |code: u16| parse_body(&code.to_be_bytes()) == Err(CloseBodyError::Code(code));
        for code in
            [1000, 1001, 1002, 1003, 1007, 1010, 1011, 1012, 1014, 3000, 3999, 4000, 4999, 5000, 65535]
        {
            assert!(!refused(code), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999] {
            assert!(refused(code), "{code}");
        }
    }
}
