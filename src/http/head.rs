//! The request head: from bytes to [`RequestHead`], with the reference's limits and errors.
//!
//! pywebsocket reads heads with Python's `http.server` and `http.client`, and handlers and error pages show
//! how those understand a line: white space anywhere between the words, any method, `HTTP/1.7`, folded
//! fields, ISO-8859-1. No Rust parser takes all of that (httparse refuses most of it), so it is done here.
//! Pure: must not import tokio or pyo3.

use bytes::{Buf as _, Bytes, BytesMut};

use super::error_page::{error_response, python_repr};
use super::fields::{is_token, parse_fields, trim_ows};

/// Longest line, its end included, in bytes (`http.client`).
const MAX_LINE: usize = 65_536;
/// Most lines after the request line, the empty one included (`http.client`).
const MAX_LINES: usize = 100;
/// Most empty lines in front of a request (RFC 9112 section 2.2: at least one is passed over).
const MAX_EMPTY_LINES: usize = 8;
/// Largest head in bytes. Python has no such limit and would keep 6.5 MB.
const MAX_HEAD: usize = 512 * 1024;

/// A request line and its header fields.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The bytes as received, the empty line that ends them included.
    pub raw: Bytes,
    /// The method, as sent (`GET`).
    pub method: String,
    /// The request target, as sent but for several slashes at its start, which are one here
    /// (`/echo?x=1`).
    pub target: String,
    /// The protocol of the request line (`HTTP/1.1`); `HTTP/0.9` when it names none.
    pub protocol: String,
    /// Field names (as sent) and values in order, decoded as ISO-8859-1, without the white space in front of
    /// a value. What comes after it stays, and a folded value keeps its line ends, as in `http.client`.
    pub headers: Vec<(String, String)>,
}

impl RequestHead {
    /// The value of the first field with this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether another request may follow on this connection: the client speaks HTTP/1.1 and did not say
    /// `Connection: close` (RFC 9112 section 9.3), or what others may take for that. Not after a head with a lone CR, which ends fields here but not
    /// everywhere (section 2.2): what a proxy takes for the next request could be a body.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        let is_http11 =
            http_version(&self.protocol).is_some_and(|version| (version.major, version.minor) >= (1, 1));
        let mut options = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Connection"));
        let is_close = |(_, value): &(String, String)| {
            let mut options = value.split(',').map(trim_ows).filter(|option| !option.is_empty());
            options.any(|option| option.eq_ignore_ascii_case("close") || !is_token(option.as_bytes()))
        };
        is_http11 && !options.any(is_close) && !has_lone_cr(&self.raw)
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        let version = http_version(&self.protocol);
        version.is_some_and(|version| (version.major, version.minor) >= (1, 1))
            && self.header("Expect").is_some_and(|value| trim_ows(value).eq_ignore_ascii_case("100-continue"))
    }

    /// The request line as received, without its line end. For the log.
    #[must_use]
    pub fn request_line(&self) -> String {
        let end = memchr::memchr(b'\n', &self.raw).unwrap_or(self.raw.len());
        line_text(&self.raw[..end])
    }
}

/// Why a connection's bytes are no request. The connection ends.
#[derive(Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The client closed, or sent lines without a word, instead of a request: nothing is answered.
    Empty,
    /// Answered with [`Rejection::response`].
    Rejected(Box<Rejection>),
}

/// A request that is answered with an error page before it is routed.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status.
    pub status: u16,
    /// The reason phrase; `None`: the standard one.
    pub message: Option<String>,
    /// The explanation on the page; `None`: the standard one.
    pub explain: Option<String>,
    /// The request line, for the log; empty when it is what was too long.
    pub request_line: String,
    /// As in [`RequestHead`]; empty when unknown.
    method: String,
    /// As in [`RequestHead`]; `HTTP/0.9` until the request line was read without an error.
    protocol: String,
}

impl Rejection {
    /// The bytes that answer the request.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let (message, explain) = (self.message.as_deref(), self.explain.as_deref());
        error_response(&self.protocol, &self.method, self.status, message, explain)
    }
}

/// Finds the end of a head in bytes that arrive bit by bit. One for each head.
#[derive(Debug, Default)]
pub struct HeadParser {
    /// Where the line begins that is not complete yet.
    line_start: usize,
    /// How much of the input was searched for a line end.
    scanned: usize,
    /// How many empty lines there were in front of the request line.
    empty_lines: usize,
    /// How many lines there were after the request line.
    lines: usize,
    /// The request line, once it is complete.
    request_line: Option<RequestLine>,
}

impl HeadParser {
    /// Looks at `input`, which holds everything received and not taken yet, and takes the head out of it once
    /// it is complete, and empty lines in front of it at once. `Ok(None)`: more bytes are needed. `at_eof`: there will be none, and what is there is
    /// the head, as in the reference.
    pub fn parse(&mut self, input: &mut BytesMut, at_eof: bool) -> Result<Option<RequestHead>, HeadError> {
        loop {
            let newline = memchr::memchr(b'\n', &input[self.scanned..]);
            let end = newline.map_or(input.len(), |offset| self.scanned + offset + 1);
            self.scanned = end;
            if end - self.line_start > MAX_LINE {
                return Err(self.line_too_long());
            }
            if end > MAX_HEAD {
                return Err(self.too_large("Line too long", format!("got more than {MAX_HEAD} bytes")));
            }
            if newline.is_none() && !at_eof {
                return Ok(None);
            }
            let line = &input[self.line_start..end];
            if self.request_line.is_none() {
                // pywebsocket: an empty line ends the connection.
                if matches!(line, b"\r\n" | b"\n") && self.empty_lines < MAX_EMPTY_LINES {
                    input.advance(end);
                    self.scanned = 0;
                    self.empty_lines += 1;
                    continue;
                }
                self.request_line = Some(RequestLine::parse(line)?);
            } else {
                self.lines += 1;
                if self.lines > MAX_LINES {
                    let explain = format!("got more than {MAX_LINES} headers");
                    return Err(self.too_large("Too many headers", explain));
                }
                if matches!(line, b"\r\n" | b"\n" | b"") {
                    let start = std::mem::take(self).request_line.unwrap_or_default();
                    return Ok(Some(start.with_fields(input.split_to(end).freeze())));
                }
            }
            self.line_start = end;
        }
    }

    fn line_too_long(&self) -> HeadError {
        if self.request_line.is_some() {
            let explain = format!("got more than {MAX_LINE} bytes when reading header line");
            return self.too_large("Line too long", explain);
        }
        HeadError::Rejected(Box::new(Rejection {
            status: 414,
            message: None,
            explain: None,
            request_line: String::new(),
            method: String::new(),
            protocol: String::new(),
        }))
    }

    fn too_large(&self, message: &str, explain: String) -> HeadError {
        let start = self.request_line.clone().unwrap_or_default();
        HeadError::Rejected(Box::new(Rejection {
            status: 431,
            message: Some(message.to_owned()),
            explain: Some(explain),
            request_line: start.line,
            method: start.method,
            protocol: start.protocol,
        }))
    }
}

/// A request line that was understood.
#[derive(Debug, Clone, Default)]
struct RequestLine {
    line: String,
    method: String,
    target: String,
    protocol: String,
}

impl RequestLine {
    /// Understands `line` (bytes, line end included) as `http.server` does.
    fn parse(line: &[u8]) -> Result<Self, HeadError> {
        let line = line_text(line);
        let words: Vec<&str> = line.split(is_python_space).filter(|word| !word.is_empty()).collect();
        let Some(&last) = words.last() else {
            return Err(HeadError::Empty);
        };
        let mut protocol = "HTTP/0.9";
        if words.len() >= 3 {
            let Some(version) = http_version(last) else {
                let message = format!("Bad request version ({})", python_repr(last));
                return Err(rejected(400, message, &line, protocol));
            };
            if version.major >= 2 {
                return Err(rejected(
                    505,
                    format!("Invalid HTTP version ({})", version.number),
                    &line,
                    protocol,
                ));
            }
            protocol = last;
        }
        let (method, target) = match words[..] {
            [method, _] if method != "GET" => {
                let message = format!("Bad HTTP/0.9 request type ({})", python_repr(method));
                return Err(rejected(400, message, &line, protocol));
            }
            [method, target] | [method, target, _] => (method.to_owned(), target),
            _ => {
                let message = format!("Bad request syntax ({})", python_repr(&line));
                return Err(rejected(400, message, &line, protocol));
            }
        };
        // http.server: `//host` at the start would be another site in a redirect.
        let target = match target.trim_start_matches('/') {
            rest if target.starts_with("//") => format!("/{rest}"),
            _ => target.to_owned(),
        };
        let protocol = protocol.to_owned();
        Ok(Self { line, method, target, protocol })
    }

    fn with_fields(self, raw: Bytes) -> RequestHead {
        let fields_start = memchr::memchr(b'\n', &raw).map_or(raw.len(), |offset| offset + 1);
        let headers = parse_fields(&latin1_text(&raw[fields_start..]));
        RequestHead { raw, method: self.method, target: self.target, protocol: self.protocol, headers }
    }
}

/// Whether a CR has no LF after it.
fn has_lone_cr(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n'))
}

/// A rejection of the request line. Its method counts as unknown then, as in `http.server`.
fn rejected(status: u16, message: String, request_line: &str, protocol: &str) -> HeadError {
    HeadError::Rejected(Box::new(Rejection {
        status,
        message: Some(message),
        explain: None,
        request_line: request_line.to_owned(),
        method: String::new(),
        protocol: protocol.to_owned(),
    }))
}

/// A protocol version: `HTTP/1.1`.
struct Version<'a> {
    /// The text after the slash.
    number: &'a str,
    major: u64,
    minor: u64,
}

/// The version that `word` names; `None` when it is none (at most ten digits each, as in `http.server`).
fn http_version(word: &str) -> Option<Version<'_>> {
    let number = word.strip_prefix("HTTP/")?;
    let (major, minor) = number.split_once('.')?;
    let parse = |part: &str| {
        let is_number = part.len() <= 10 && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse().ok()).flatten()
    };
    Some(Version { number, major: parse(major)?, minor: parse(minor)? })
}

/// Whether Python's `str.split` takes `character` for white space.
fn is_python_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}

/// A line's text without its end.
fn line_text(line: &[u8]) -> String {
    let mut text = latin1_text(line);
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    text
}

/// `bytes` decoded as ISO-8859-1.
fn latin1_text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<RequestHead, HeadError> {
        let mut input = BytesMut::from(bytes);
        HeadParser::default().parse(&mut input, true).map(|head| head.expect("a head at EOF"))
    }

    fn rejection(bytes: &[u8]) -> (u16, String) {
        match parse(bytes) {
            Err(HeadError::Rejected(rejection)) => (rejection.status, rejection.message.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn single_bytes_make_a_head_and_leave_the_rest() {
        let bytes = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let mut parser = HeadParser::default();
        let mut input = BytesMut::new();
        let mut head = None;
        for (count, &byte) in bytes.iter().enumerate() {
            assert!(head.is_none() || count >= bytes.len() - 4);
            input.extend_from_slice(&[byte]);
            if head.is_none() {
                head = parser.parse(&mut input, false).expect("no error");
            }
        }
        let head = head.expect("a head");
        assert_eq!((head.method.as_str(), head.target.as_str()), ("GET", "/echo"));
        assert_eq!(head.protocol, "HTTP/1.1");
        assert_eq!(head.raw.as_ref(), &bytes[..bytes.len() - 4]);
        assert_eq!(head.header("hOST"), Some("a"));
        assert_eq!(input.as_ref(), b"rest");
    }

    #[test]
    fn who_waits_for_a_hundred_says_so_in_http_1_1() {
        for (protocol, field, expected) in [
            ("HTTP/1.1", "Expect: 100-continue", true),
            ("HTTP/1.2", "expect: 100-Continue ", true),
            ("HTTP/1.0", "Expect: 100-continue", false),
            ("HTTP/1.1", "Expect: 200-ok", false),
            ("HTTP/1.1", "Accept: 100-continue", false),
            ("HTTP/1.0", "Accept: x", false),
        ] {
            let head = parse(format!("PUT /a {protocol}\r\n{field}\r\n\r\n").as_bytes()).expect("a head");
            assert_eq!(head.expects_continue(), expected, "{protocol} {field}");
            assert_eq!(head.request_line(), format!("PUT /a {protocol}"));
        }
    }

    #[test]
    fn one_parser_reads_one_head_after_the_other() {
        let mut input = BytesMut::from(&b"GET /a HTTP/1.1\n\nGET /b HTTP/1.1\n\n"[..]);
        let mut parser = HeadParser::default();
        for target in ["/a", "/b"] {
            assert_eq!(parser.parse(&mut input, false).expect("no error").expect("a head").target, target);
        }
    }

    #[test]
    fn request_lines_are_read_as_python_reads_them() {
        for (line, method, target, protocol) in [
            (&b"GET / HTTP/1.0"[..], "GET", "/", "HTTP/1.0"),
            (b" GET\t/a\x1c HTTP/1.7 ", "GET", "/a", "HTTP/1.7"),
            (b"g\xe9t * HTTP/01.1", "g\u{e9}t", "*", "HTTP/01.1"),
            (b"GET ///a//b", "GET", "/a//b", "HTTP/0.9"),
        ] {
            let head = parse(line).expect("a head");
            assert_eq!((head.method.as_str(), head.target.as_str()), (method, target));
            assert_eq!(head.protocol, protocol);
        }
    }

    #[test]
    fn bad_request_lines_are_answered_as_python_answers_them() {
        for (line, status, message) in [
            (&b"GET"[..], 400, "Bad request syntax ('GET')"),
            (b"GET / a HTTP/1.1", 400, "Bad request syntax ('GET / a HTTP/1.1')"),
            (b"GET / HTTP/1.1 a", 400, "Bad request version ('a')"),
            (b"GET / HTTP/1", 400, "Bad request version ('HTTP/1')"),
            (b"GET / HTTP/1.1.1", 400, "Bad request version ('HTTP/1.1.1')"),
            (b"GET / HTTP/1.", 400, "Bad request version ('HTTP/1.')"),
            (b"GET / HTTP/12345678901.1", 400, "Bad request version ('HTTP/12345678901.1')"),
            (b"GET / HTTP/1.\xb2", 400, "Bad request version ('HTTP/1.\u{b2}')"),
            (b"GET / http/1.1", 400, "Bad request version ('http/1.1')"),
            (b"GET / HTTP/2.0", 505, "Invalid HTTP version (2.0)"),
            (b"POST /", 400, "Bad HTTP/0.9 request type ('POST')"),
        ] {
            assert_eq!(rejection(line), (status, message.to_owned()));
        }
    }

    #[test]
    fn a_bad_request_line_is_answered_at_once() {
        let mut input = BytesMut::from(&b"GET / HTTP/9.9\r\nHost"[..]);
        assert!(HeadParser::default().parse(&mut input, false).is_err());
    }

    #[test]
    fn nothing_is_not_answered() {
        for bytes in [&b""[..], b"\r\n", b"\n", b"\r", b" \t\r\n", b" \r\nGET / HTTP/1.1\r\n\r\n"] {
            assert_eq!(parse(bytes).expect_err("no head"), HeadError::Empty);
        }
    }

    #[test]
    fn empty_lines_before_a_request_are_passed_over_up_to_a_limit() {
        for lines in ["\r\n", "\n", "\r\n\n\r\n", &"\r\n".repeat(MAX_EMPTY_LINES)] {
            let bytes = format!("{lines}GET /a HTTP/1.1\r\nA: b\r\n\r\n");
            let head = parse(bytes.as_bytes()).expect("a head");
            assert_eq!(
                (head.raw.as_ref(), head.headers.len()),
                (&bytes.as_bytes()[lines.len()..], 1),
                "{lines:?}"
            );
        }
        let mut input = BytesMut::from(&b"\r\n"[..]);
        let mut parser = HeadParser::default();
        assert!(parser.parse(&mut input, false).expect("no error").is_none() && input.is_empty());
        let many = "\n".repeat(MAX_EMPTY_LINES + 1) + "GET /a HTTP/1.1\r\n\r\n";
        assert_eq!(parse(many.as_bytes()).expect_err("no head"), HeadError::Empty);
    }

    #[test]
    fn keep_alive_is_for_http11() {
        for (head, expected) in [
            ("GET / HTTP/1.1", true),
            ("GET / HTTP/1.7\r\nConnection: keep-alive", true),
            ("GET / HTTP/1.1\r\nConnection: upgrade\r\nconnection: a, CLOSE", false),
            ("GET / HTTP/1.1\r\nConnection: a,\tclose\t", false),
            ("GET / HTTP/1.1\r\nConnection: close\u{b}", false),
            ("GET / HTTP/1.1\r\nConnection: a close", false),
            ("GET / HTTP/1.1\r\nConnection: , keep-alive,", true),
            ("GET / HTTP/1.1\r\nA: b\rC: d", false),
            ("GET / HTTP/1.0", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive", false),
            ("GET /", false),
        ] {
            assert_eq!(parse(head.as_bytes()).expect("a head").keeps_alive(), expected, "{head}");
        }
    }

    #[test]
    fn fields_are_those_behind_the_request_line() {
        let head = parse(b"GET / HTTP/1.1\r\nA: \xe9\r\nb:c").expect("a head");
        let expected = [("A", "\u{e9}"), ("b", "c")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(head.headers, expected);
    }

    #[test]
    fn lines_have_a_limit() {
        let line = |length: usize| {
            let mut line = b"GET /".to_vec();
            line.resize(length - " HTTP/1.1\r\n".len(), b'a');
            line.extend_from_slice(b" HTTP/1.1\r\n");
            line
        };
        assert!(parse(&[line(MAX_LINE), b"\r\n".to_vec()].concat()).is_ok());
        assert_eq!(rejection(&line(MAX_LINE + 1)).0, 414);
        let mut input = BytesMut::from(&vec![b'a'; MAX_LINE + 1][..]);
        assert!(HeadParser::default().parse(&mut input, false).is_err(), "without a line end, too");
        let field = [b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; MAX_LINE]].concat();
        assert_eq!(rejection(&field), (431, "Line too long".to_owned()));
    }

    #[test]
    fn heads_have_limits() {
        let fields = |count: usize, field: &str| format!("GET / HTTP/1.1\r\n{}\r\n", field.repeat(count));
        assert_eq!(parse(fields(99, "A: b\r\n").as_bytes()).expect("a head").headers.len(), 99);
        assert_eq!(rejection(fields(100, "A: b\r\n").as_bytes()), (431, "Too many headers".to_owned()));
        let field = format!("A: {}\r\n", "b".repeat(60_000));
        assert!(parse(fields(8, &field).as_bytes()).is_ok());
        assert_eq!(rejection(fields(9, &field).as_bytes()).0, 431);
    }

    #[test]
    fn rejections_leave_out_what_http09_has_not() {
        let response = |bytes: &[u8]| match parse(bytes) {
            Err(HeadError::Rejected(rejection)) => String::from_utf8(rejection.response()).expect("UTF-8"),
            other => panic!("{other:?}"),
        };
        assert!(response(b"GET").starts_with("<!DOCTYPE HTML>"));
        assert!(response(b"GET / HTTP/2.0").starts_with("<!DOCTYPE HTML>"));
        assert!(response(b"GET / a HTTP/1.1").starts_with("HTTP/1.0 400 Bad request syntax"));
        assert!(response(&vec![b'a'; MAX_LINE + 1]).starts_with("HTTP/1.0 414 Request-URI Too Long\r\n"));
        let many = format!("HEAD / HTTP/1.1\r\n{}", "A: b\r\n".repeat(101));
        assert!(response(many.as_bytes()).ends_with("\r\n\r\n"));
    }
}
