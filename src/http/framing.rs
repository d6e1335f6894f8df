//! How long the body of a request is, and which heads are refused because others may read them differently.
//!
//! pywebsocket never asks: it answers one request and closes. A connection that goes on must know where the
//! next request begins, and a proxy in front of us must have found the same place (RFC 9112 section 11.2,
//! request smuggling). So what can be read in two ways is refused, unless a handler takes the connection, from
//! which no second request comes. Pure: must not import tokio or pyo3.

use super::fields::{is_token, trim_ows};
use super::head::RequestHead;

/// The body after a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBody {
    /// So many bytes; 0 without a body.
    Length(u64),
    /// `Transfer-Encoding: chunked`: as long as its chunks say.
    Chunked,
}

/// A request that must not be answered as it is. The connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramingError {
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub message: &'static str,
}

/// The body after `head`.
pub fn request_body(head: &RequestHead) -> Result<RequestBody, FramingError> {
    let bad = |message| Err(FramingError { status: 400, message });
    if let Some(message) = malformed(&head.raw) {
        return bad(message);
    }
    let fields = |name: &'static str| {
        let fields = head.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        fields.map(|(_, value)| value.as_str())
    };
    let hosts: Vec<&str> = fields("Host").map(trim_ows).collect();
    // RFC 9112 section 3.2.
    if hosts.len() > 1 || hosts.iter().any(|host| !is_host(host)) {
        return bad("Bad Host");
    }
    if hosts.is_empty() && !matches!(head.protocol.as_str(), "HTTP/1.0" | "HTTP/0.9") {
        return bad("No Host");
    }
    // RFC 9112 section 5.2: a folded value may be refused, and here others may not see all of it.
    if fields("Content-Length").chain(fields("Transfer-Encoding")).any(|value| value.contains('\n')) {
        return bad("Folded header field");
    }
    let lengths: Vec<&str> = fields("Content-Length").map(trim_ows).collect();
    let codings: Vec<&str> = fields("Transfer-Encoding").flat_map(|value| value.split(',')).collect();
    if !codings.is_empty() {
        // RFC 9112 section 6.1: both is how smuggling is done, and HTTP/1.0 has no codings.
        if !lengths.is_empty() {
            return bad("Both Transfer-Encoding and Content-Length");
        }
        if matches!(head.protocol.as_str(), "HTTP/1.0" | "HTTP/0.9") {
            return bad("Transfer-Encoding before HTTP/1.1");
        }
        return match codings.iter().map(|coding| trim_ows(coding).to_ascii_lowercase()).collect::<Vec<_>>() {
            codings if codings == ["chunked"] => Ok(RequestBody::Chunked),
            // Section 6.3, rule 4: there is no telling where such a body ends.
            codings if codings.last().is_none_or(|last| last != "chunked") => bad("Body without an end"),
            // Section 6.1: a coding that we do not understand.
            _ => Err(FramingError { status: 501, message: "Unsupported Transfer-Encoding" }),
        };
    }
    match lengths[..] {
        [] => Ok(RequestBody::Length(0)),
        // RFC 9110 section 8.6: digits only.
        [length] if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(RequestBody::Length).or(bad("Content-Length too large"))
        }
        // The same section: what repeats it may be refused, even with one value.
        _ => bad("Bad Content-Length"),
    }
}

/// What Python's `str.split` takes for white space in a request line beside SP and HTAB.
const PYTHON_SPACES: &[u8] = b"\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0";

/// Whether `value` is an RFC 3986 host with an optional port, or empty (RFC 9110 section 7.2). Which names and
/// addresses there are is not looked at.
fn is_host(value: &str) -> bool {
    let is_address = value.starts_with('[');
    let end = if is_address { value.find(']').map(|end| end + 1) } else { value.find(':') };
    let (host, port) = value.split_at(end.unwrap_or(value.len()));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte) || (is_address && byte == b':')
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    host.bytes().all(is_allowed) && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// What is wrong with the lines of the head `raw`, of those things that others read differently. Python's parser,
/// whose fields we use, ends a line at a lone CR and all fields at the first line that is none.
fn malformed(raw: &[u8]) -> Option<&'static str> {
    let mut lines = raw.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // RFC 9112 section 2.2 and RFC 9110 section 5.5.
    if lines.clone().any(|line| line.contains(&b'\r') || line.contains(&b'\0')) {
        return Some("Control character in the request head");
    }
    // RFC 9112 section 3: to Python's parser more than SP and HTAB parts words, some of it letters to others.
    if lines.next().unwrap_or_default().iter().any(|byte| PYTHON_SPACES.contains(byte)) {
        return Some("Control character in the request line");
    }
    for (index, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        // RFC 9112 section 5.2: a folded line may be taken for white space.
        let is_folded = index > 0 && matches!(line[0], b' ' | b'\t');
        let name = line.split(|&byte| byte == b':').next().filter(|name| name.len() < line.len());
        if !is_folded && !name.is_some_and(is_token) {
            return Some("Malformed header field");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::head::HeadParser;

    fn body_of(head: &str) -> Result<RequestBody, FramingError> {
        let mut input = BytesMut::from(head);
        let head = HeadParser::default().parse(&mut input, false).expect("no error").expect("a head");
        request_body(&head)
    }

    #[test]
    fn bodies() {
        for (fields, expected) in [
            ("", RequestBody::Length(0)),
            ("Content-Length: 5\r\n", RequestBody::Length(5)),
            ("content-length:5 \r\n", RequestBody::Length(5)),
            ("Content-Length:\t5\t\r\n", RequestBody::Length(5)),
            ("Content-Length: 005\r\n", RequestBody::Length(5)),
            ("Content-Length: 18446744073709551615\n", RequestBody::Length(u64::MAX)),
            ("Transfer-Encoding: chunked\r\n", RequestBody::Chunked),
            ("transfer-encoding: CHUNKED\r\n", RequestBody::Chunked),
            ("A: b\r\n c: d\r\nContent-Length: 1\r\n", RequestBody::Length(1)),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            assert_eq!(body_of(&head), Ok(expected), "{fields:?}");
        }
    }

    #[test]
    fn the_first_field_has_none_to_be_folded_into() {
        let head = "GET / HTTP/1.1\r\n Content-Length: 5\r\nHost: a\r\n\r\n";
        assert!(body_of(head).is_err());
    }

    #[test]
    fn heads_that_can_be_read_in_two_ways() {
        for (fields, status) in [
            ("Content-Length: +5\r\n", 400),
            ("Content-Length: -5\r\n", 400),
            ("Content-Length: 0x5\r\n", 400),
            ("Content-Length: \r\n", 400),
            ("no-colon\r\n", 400),
            ("Content-Length: -0\r\n", 400),
            ("Content-Length: 5_0\r\n", 400),
            ("Content-Length:\r\n 5\r\n", 400),
            ("Content-Length: 5\r\n \r\n", 400),
            ("Transfer-Encoding:\r\n chunked\r\n", 400),
            ("Transfer-Encoding: chunked\u{b}\r\n", 400),
            ("Transfer-Encoding: chunked;a=b\r\n", 400),
            ("Transfer-Encoding: \"chunked\"\r\n", 400),
            ("Content-Length: 5\r\n 5\r\n", 400),
            ("Content-Length: 5, 5\r\n", 400),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
            ("Content-Length: 18446744073709551616\r\n", 400),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Transfer-Encoding: gzip\r\n", 400),
            ("Transfer-Encoding: \r\n", 400),
            ("Transfer-Encoding: chunked, identity\r\n", 400),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
            ("Transfer-Encoding: xchunked\r\n", 400),
            ("Content-Length : 5\r\n", 400),
            (" Content-Length: 5\r\n", 400),
            ("no field\r\nContent-Length: 5\r\n", 400),
            (": 5\r\n", 400),
            ("A: b\rContent-Length: 5\r\n", 400),
            ("A: b\r\r\n", 400),
            ("A: \0\r\n", 400),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let found = body_of(&head).map_err(|error| error.status);
            assert_eq!(found, Err(status), "{fields:?}");
        }
        for head in [
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /\rHTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(body_of(head).map_err(|error| error.status), Err(400), "{head:?}");
        }
    }

    /// What Unicode or Python call space, and HTTP does not.
    #[test]
    fn white_space_is_sp_and_htab() {
        for space in b"\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0" {
            for [before, after] in [
                [&b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:"[..], b"5\r\n\r\n"],
                [b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5", b"\r\n\r\n"],
                [b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:", b"chunked\r\n\r\n"],
                [b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked", b"\r\n\r\n"],
                [b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip,", b"chunked\r\n\r\n"],
                [b"GET / HTTP/1.1\r\nHost:", b"a\r\n\r\n"],
                [b"GET / HTTP/1.1\r\nHost: a", b"\r\n\r\n"],
                [b"GET /", b"HTTP/1.1\r\nHost: a\r\n\r\n"],
                [b"GET", b"/ HTTP/1.1\r\nHost: a\r\n\r\n"],
                [b"GET / HTTP/1.1", b"\r\nHost: a\r\n\r\n"],
                [b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length", b": 5\r\n\r\n"],
            ] {
                let bytes = [before, &[*space], after].concat();
                let mut input = BytesMut::from(&bytes[..]);
                let head = HeadParser::default().parse(&mut input, false).expect("no error").expect("a head");
                assert!(
                    request_body(&head).is_err_and(|error| matches!(error.status, 400 | 501)),
                    "{}",
                    bytes.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn one_host_is_named() {
        for (version, fields, is_good) in [
            ("1.1", "Host: a", true),
            ("1.1", "host:a.example:8080", true),
            ("1.1", "Host: [::1]:8080", true),
            ("1.1", "Host: [fe80::1%25eth0]", true),
            ("1.1", "Host: my_host:", true),
            ("1.1", "Host:", true),
            ("1.0", "A: b", true),
            ("1.0", "Host: a", true),
            ("1.1", "A: b", false),
            ("1.2", "A: b", false),
            ("1.1", "Host: a\r\nHost: a", false),
            ("1.0", "Host: a\r\nhost: b", false),
            ("1.1", "Host: a b", false),
            ("1.1", "Host: a/b", false),
            ("1.1", "Host: u@a", false),
            ("1.1", "Host: a:b", false),
            ("1.1", "Host: a:1:2", false),
            ("1.1", "Host: [::1", false),
            ("1.1", "Host: [::1]a", false),
            ("1.1", "Host: \u{e9}", false),
            ("1.1", "Host: a\r\n b", false),
        ] {
            let found = body_of(&format!("GET / HTTP/{version}\r\n{fields}\r\n\r\n"));
            assert_eq!(found.is_ok(), is_good, "{version} {fields:?}");
        }
        assert!(body_of("GET /\r\n\r\n").is_ok());
    }
}
