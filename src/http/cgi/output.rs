//! What a script writes first: its header (RFC 3875 section 6), and the response head that comes of it.

use http::StatusCode;

use crate::http::error_page::response_start;
use crate::http::fields::is_token;

/// Longest header of a script, in bytes.
const MAX_HEADER: usize = 64 * 1024;

/// Fields about the connection, which is not the script's (RFC 3875 section 6.3.4), and the one for us.
const NOT_PASSED_ON: [&str; 4] = ["Status", "Connection", "Keep-Alive", "Transfer-Encoding"];

/// The header of a script.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// The status, and the reason phrase unless the script leaves that to us.
    status: Option<(u16, String)>,
    /// Names and values, in order, decoded as ISO-8859-1.
    fields: Vec<(String, String)>,
}

/// What a script has written so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Not the whole header.
    Partial,
    /// The header, and how many bytes it takes.
    Whole(Header, usize),
    /// No header at all.
    Wrong(HeaderError),
}

/// Why what a script writes is no header.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A line is no field.
    #[error("no header field: {0:?}")]
    NoField(String),
    /// A field has a name that is none, or a value that breaks lines.
    #[error("malformed header field: {0:?}")]
    Malformed(String),
    /// `Status` is no final status.
    #[error("bad status: {0:?}")]
    Status(String),
    /// It does not come to its end.
    #[error("its header is longer than {MAX_HEADER} bytes")]
    TooLong,
}

/// Looks for the header in `output`. Its lines end with LF or CR LF.
#[must_use]
pub fn parse(output: &[u8]) -> Parsed {
    let mut header = Header { status: None, fields: Vec::new() };
    let mut start = 0;
    while let Some(length) = memchr::memchr(b'\n', &output[start..]) {
        let line = &output[start..start + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        start += length + 1;
        if line.is_empty() {
            return Parsed::Whole(header, start);
        }
        if let Err(reason) = header.add(line) {
            return Parsed::Wrong(reason);
        }
    }
    if output.len() > MAX_HEADER {
        return Parsed::Wrong(HeaderError::TooLong);
    }
    Parsed::Partial
}

impl Header {
    fn add(&mut self, line: &[u8]) -> Result<(), HeaderError> {
        let text: String = line.iter().map(|&byte| char::from(byte)).collect();
        let Some((name, value)) = text.split_once(':') else {
            return Err(HeaderError::NoField(text));
        };
        if !is_token(name.as_bytes()) || value.contains(['\r', '\0']) {
            return Err(HeaderError::Malformed(text));
        }
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("Status") {
            let (code, reason) = value.split_once(' ').unwrap_or((value, ""));
            // 1xx is no answer, and 101 would be an upgrade.
            // Three digits (section 6.3.3); `parse` alone would take a sign, and leading zeros.
            let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
            let code = code.parse().ok().filter(|code| is_code && (200..=999).contains(code));
            let code = code.ok_or_else(|| HeaderError::Status(value.to_owned()))?;
            self.status = Some((code, reason.to_owned()));
        }
        self.fields.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    fn location(&self) -> Option<&str> {
        let found = self.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("Location"));
        found.map(|(_, value)| value.as_str())
    }

    /// The target to answer instead (RFC 3875 section 6.2.2): a path is all that the script says.
    #[must_use]
    pub fn local_redirect(&self) -> Option<&str> {
        let is_path = |value: &&str| value.starts_with('/') && !value.starts_with("//");
        self.location().filter(is_path).filter(|value| self.fields.len() == 1 && !value.contains(' '))
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match (&self.status, self.location()) {
            (Some((status, _)), _) => *status,
            // Section 6.2.3: a client redirect.
            (None, Some(_)) => 302,
            (None, None) => 200,
        }
    }

    /// The response head; the connection closes at the end of the body. pywebsocket: HTTP/1.0, these words for
    /// 200, and the script's fields after ours.
    #[must_use]
    pub fn response_head(&self) -> Vec<u8> {
        let status = self.status();
        let reason = match &self.status {
            Some((_, reason)) if !reason.is_empty() => reason.as_str(),
            None if status == 200 => "Script output follows",
            _ => StatusCode::from_u16(status)
                .ok()
                .and_then(|status| status.canonical_reason())
                .unwrap_or("???"),
        };
        let mut head = response_start(status, reason);
        for (name, value) in &self.fields {
            if !NOT_PASSED_ON.iter().any(|other| name.eq_ignore_ascii_case(other)) {
                head.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
            }
        }
        head.push_str("\r\n");
        head.chars().map(|character| u8::try_from(character).unwrap_or(b'?')).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(output: &[u8]) -> (Header, usize) {
        match parse(output) {
            Parsed::Whole(header, length) => (header, length),
            other => panic!("{other:?}"),
        }
    }

    /// The response head without the two fields of ours.
    fn head_of(output: &[u8]) -> String {
        let head: String = header(output).0.response_head().into_iter().map(char::from).collect();
        let lines =
            head.split("\r\n").filter(|line| !line.starts_with("Server: ") && !line.starts_with("Date: "));
        lines.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn headers_end_with_an_empty_line() {
        for (output, length) in
            [(&b"A: b\n\nbody"[..], 6), (b"A: b\r\n\r\nbody", 8), (b"A: b\r\n\nbody", 7), (b"\nbody", 1)]
        {
            assert_eq!(header(output).1, length);
            for partial in 0..length {
                assert_eq!(parse(&output[..partial]), Parsed::Partial);
            }
        }
    }

    #[test]
    fn response_heads() {
        for (output, expected) in [
            (
                &b"Content-type:text/plain\n\n"[..],
                "HTTP/1.0 200 Script output follows|Content-type: text/plain||",
            ),
            (b"\n", "HTTP/1.0 200 Script output follows||"),
            (b"X: \xe9\nstatus: 404\n\n", "HTTP/1.0 404 Not Found|X: \u{e9}||"),
            (b"Status: 299 As it is\nX:1\nX:2\n\n", "HTTP/1.0 299 As it is|X: 1|X: 2||"),
            (b"Status: 599\n\n", "HTTP/1.0 599 ???||"),
            (b"Location: http://h/\n\n", "HTTP/1.0 302 Found|Location: http://h/||"),
            (b"Status: 301\nLocation: /a\n\n", "HTTP/1.0 301 Moved Permanently|Location: /a||"),
            (
                b"Connection: keep-alive\nTransfer-Encoding: chunked\n\n",
                "HTTP/1.0 200 Script output follows||",
            ),
        ] {
            assert_eq!(head_of(output), expected);
        }
    }

    #[test]
    fn local_redirects() {
        for (output, expected) in [
            (&b"Location: /a?b\n\n"[..], Some("/a?b")),
            (b"Location: //h/a\n\n", None),
            (b"Location: http://h/a\n\n", None),
            (b"Location: /a b\n\n", None),
            (b"Location: /a\nStatus: 302\n\n", None),
            (b"Content-Type: a/b\n\n", None),
        ] {
            assert_eq!(header(output).0.local_redirect(), expected);
        }
    }

    #[test]
    fn no_header() {
        for output in [
            &b"hello\n"[..],
            b"<html>: x\n\n",
            b"A : b\n\n",
            b" A: b\n\n",
            b"A: b\rC: d\n\n",
            b"A: \0\n\n",
            b"Status: x\n\n",
            b"Status: 101\n\n",
            b"Status: 20\n\n",
            b"Status: 1000\n\n",
            b"Status: +200\n\n",
            b"Status: 0200\n\n",
            b"Status: 200\x0b\n\n",
            &vec![b'a'; MAX_HEADER + 1],
        ] {
            assert!(matches!(parse(output), Parsed::Wrong(_)), "{:?}", String::from_utf8_lossy(output));
        }
    }
}
