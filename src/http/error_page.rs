//! Error responses with the reference's bytes: status line, fields and page of Python's `http.server`.
//!
//! Only the values of `Server` and `Date` differ. Pure: must not import tokio or pyo3.

use std::fmt::Write as _;
use std::time::SystemTime;

/// The value of the `Server` field.
pub const SERVER: &str = concat!("wshost/", env!("CARGO_PKG_VERSION"));

/// A whole error response, after which the connection is to be closed.
///
/// `message` is the reason phrase and `explain` the sentence below it; `None` takes the standard texts of
/// `status`. `head_only` (the request was a `HEAD`) leaves the page out and keeps its `Content-Length`.
/// Characters of `message` beyond ISO-8859-1 become `?` in the status line.
#[must_use]
pub fn error_page(status: u16, message: Option<&str>, explain: Option<&str>, head_only: bool) -> Vec<u8> {
    let reason = message.unwrap_or_else(|| reason_phrase(status));
    let mut head = response_start(status, reason);
    head.push_str("Connection: close\r\n");
    // RFC 9110 section 6.4.1 and 15.3.6: these have no content.
    if status < 200 || matches!(status, 204 | 205 | 304) {
        head.push_str("\r\n");
        return latin1(&head);
    }
    let page = error_body(status, message, explain);
    let _ = write!(head, "Content-Type: text/html;charset=utf-8\r\nContent-Length: {}\r\n\r\n", page.len());
    let mut response = latin1(&head);
    if !head_only {
        response.extend_from_slice(&page);
    }
    response
}

/// The page alone: all that an HTTP/0.9 client gets (`GET /` without a version, and a request line that is
/// too broken to tell).
#[must_use]
pub fn error_body(status: u16, message: Option<&str>, explain: Option<&str>) -> Vec<u8> {
    let message = escape_html(message.unwrap_or_else(|| reason_phrase(status)));
    let explain = escape_html(explain.unwrap_or_else(|| standard_texts(status).1));
    format!(
        r#"<!DOCTYPE HTML>
<html lang="en">
    <head>
        <meta charset="utf-8">
        <title>Error response</title>
    </head>
    <body>
        <h1>Error response</h1>
        <p>Error code: {status}</p>
        <p>Message: {message}.</p>
        <p>Error code explanation: {status} - {explain}.</p>
    </body>
</html>
"#
    )
    .into_bytes()
}

/// The error response to a request with this `protocol` and `method`: the page alone for `HTTP/0.9`, no page
/// for `HEAD`.
#[must_use]
pub fn error_response(
    protocol: &str,
    method: &str,
    status: u16,
    message: Option<&str>,
    explain: Option<&str>,
) -> Vec<u8> {
    let head_only = method == "HEAD";
    if protocol != "HTTP/0.9" {
        error_page(status, message, explain, head_only)
    } else if head_only {
        Vec::new()
    } else {
        error_body(status, message, explain)
    }
}

/// The answer to a `Sec-WebSocket-Version` that is not `supported` (RFC 6455 section 4.4). pywebsocket: the
/// status, that one field and no page.
#[must_use]
pub fn version_response(supported: &str) -> Vec<u8> {
    let mut head = response_start(400, reason_phrase(400));
    let _ = write!(head, "Sec-WebSocket-Version: {supported}\r\n\r\n");
    latin1(&head)
}

/// The standard reason phrase of `status`; `???` for one that has none.
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    standard_texts(status).0
}

/// `text` with the three characters replaced that HTML takes for markup outside of attributes.
#[must_use]
pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `text` as Python's `repr` writes it, which is how the reference's pages quote what a client sent. Only for
/// text of ISO-8859-1.
#[must_use]
pub fn python_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for character in text.chars() {
        match character {
            '\\' => quoted.push_str("\\\\"),
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            _ if character == quote => {
                quoted.push('\\');
                quoted.push(quote);
            }
            '\0'..='\x1f' | '\x7f'..='\u{a0}' | '\u{ad}' => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push(quote);
    quoted
}

/// Status line, `Server` and `Date`. pywebsocket: errors are HTTP/1.0 whatever the client speaks.
pub(super) fn response_start(status: u16, reason: &str) -> String {
    let date = httpdate::fmt_http_date(SystemTime::now());
    format!("HTTP/1.0 {status} {reason}\r\nServer: {SERVER}\r\nDate: {date}\r\n")
}

/// `text` in ISO-8859-1, `?` for what it does not have.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).unwrap_or(b'?')).collect()
}

/// Reason phrase and explanation of `status`, as Python 3.11's `http.HTTPStatus` has them.
fn standard_texts(status: u16) -> (&'static str, &'static str) {
    match status {
        100 => ("Continue", "Request received, please continue"),
        101 => ("Switching Protocols", "Switching to new protocol; obey Upgrade header"),
        102 => ("Processing", ""),
        103 => ("Early Hints", ""),
        200 => ("OK", "Request fulfilled, document follows"),
        201 => ("Created", "Document created, URL follows"),
        202 => ("Accepted", "Request accepted, processing continues off-line"),
        203 => ("Non-Authoritative Information", "Request fulfilled from cache"),
        204 => ("No Content", "Request fulfilled, nothing follows"),
        205 => ("Reset Content", "Clear input form for further input"),
        206 => ("Partial Content", "Partial content follows"),
        207 => ("Multi-Status", ""),
        208 => ("Already Reported", ""),
        226 => ("IM Used", ""),
        300 => ("Multiple Choices", "Object has several resources -- see URI list"),
        301 => ("Moved Permanently", "Object moved permanently -- see URI list"),
        302 => ("Found", "Object moved temporarily -- see URI list"),
        303 => ("See Other", "Object moved -- see Method and URL list"),
        304 => ("Not Modified", "Document has not changed since given time"),
        305 => ("Use Proxy", "You must use proxy specified in Location to access this resource"),
        307 => ("Temporary Redirect", "Object moved temporarily -- see URI list"),
        308 => ("Permanent Redirect", "Object moved permanently -- see URI list"),
        400 => ("Bad Request", "Bad request syntax or unsupported method"),
        401 => ("Unauthorized", "No permission -- see authorization schemes"),
        402 => ("Payment Required", "No payment -- see charging schemes"),
        403 => ("Forbidden", "Request forbidden -- authorization will not help"),
        404 => ("Not Found", "Nothing matches the given URI"),
        405 => ("Method Not Allowed", "Specified method is invalid for this resource"),
        406 => ("Not Acceptable", "URI not available in preferred format"),
        407 => ("Proxy Authentication Required", "You must authenticate with this proxy before proceeding"),
        408 => ("Request Timeout", "Request timed out; try again later"),
        409 => ("Conflict", "Request conflict"),
        410 => ("Gone", "URI no longer exists and has been permanently removed"),
        411 => ("Length Required", "Client must specify Content-Length"),
        412 => ("Precondition Failed", "Precondition in headers is false"),
        413 => ("Request Entity Too Large", "Entity is too large"),
        414 => ("Request-URI Too Long", "URI is too long"),
        415 => ("Unsupported Media Type", "Entity body in unsupported format"),
        416 => ("Requested Range Not Satisfiable", "Cannot satisfy request range"),
        417 => ("Expectation Failed", "Expect condition could not be satisfied"),
        418 => ("I'm a Teapot", "Server refuses to brew coffee because it is a teapot."),
        421 => ("Misdirected Request", "Server is not able to produce a response"),
        422 => ("Unprocessable Entity", ""),
        423 => ("Locked", ""),
        424 => ("Failed Dependency", ""),
        425 => ("Too Early", ""),
        426 => ("Upgrade Required", ""),
        428 => ("Precondition Required", "The origin server requires the request to be conditional"),
        429 => (
            "Too Many Requests",
            "The user has sent too many requests in a given amount of time (\"rate limiting\")",
        ),
        431 => (
            "Request Header Fields Too Large",
            "The server is unwilling to process the request because its header fields are too large",
        ),
        451 => (
            "Unavailable For Legal Reasons",
            "The server is denying access to the resource as a consequence of a legal demand",
        ),
        500 => ("Internal Server Error", "Server got itself in trouble"),
        501 => ("Not Implemented", "Server does not support this operation"),
        502 => ("Bad Gateway", "Invalid responses from another server/proxy"),
        503 => ("Service Unavailable", "The server cannot process the request due to a high load"),
        504 => ("Gateway Timeout", "The gateway server did not receive a timely response"),
        505 => ("HTTP Version Not Supported", "Cannot fulfill request"),
        506 => ("Variant Also Negotiates", ""),
        507 => ("Insufficient Storage", ""),
        508 => ("Loop Detected", ""),
        510 => ("Not Extended", ""),
        511 => ("Network Authentication Required", "The client needs to authenticate to gain network access"),
        _ => ("???", "???"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn pages_have_the_reference_bytes() {
        let response = text(error_page(404, Some("File not found"), None, false));
        let (head, page) = response.split_once("\r\n\r\n").expect("an empty line");
        let fields: Vec<&str> = head.split("\r\n").collect();
        assert_eq!(fields[0], "HTTP/1.0 404 File not found");
        assert_eq!(fields[1], format!("Server: {SERVER}"));
        assert!(fields[2].starts_with("Date: ") && fields[2].ends_with(" GMT"), "{}", fields[2]);
        assert_eq!(
            fields[3..],
            ["Connection: close", "Content-Type: text/html;charset=utf-8", "Content-Length: 335"]
        );
        assert_eq!(page.len(), 335);
        assert!(page.contains("<p>Message: File not found.</p>\n"));
        assert!(page.contains("<p>Error code explanation: 404 - Nothing matches the given URI.</p>\n"));
    }

    #[test]
    fn head_gets_the_fields_only() {
        let whole = error_page(400, None, None, false);
        let head = error_page(400, None, None, true);
        assert!(head.ends_with(b"\r\n\r\n"));
        assert_eq!(whole.len() - head.len(), error_body(400, None, None).len());
    }

    #[test]
    fn bodiless_statuses_have_no_page() {
        for status in [101, 204, 205, 304] {
            let response = text(error_page(status, None, None, false));
            assert!(response.ends_with("\r\nConnection: close\r\n\r\n"), "{response}");
        }
    }

    #[test]
    fn unknown_status() {
        assert!(error_page(499, None, None, false).starts_with(b"HTTP/1.0 499 ???\r\n"));
        assert!(text(error_body(499, None, None)).contains("499 - ???."));
    }

    #[test]
    fn markup_is_escaped_and_the_status_line_is_latin1() {
        let response = error_page(400, Some("<\u{e9}\u{20ac}>"), None, false);
        assert!(response.starts_with(b"HTTP/1.0 400 <\xe9?>\r\n"));
        assert!(String::from_utf8_lossy(&response).contains("Message: &lt;\u{e9}\u{20ac}&gt;."));
    }

    #[test]
    fn http09_gets_the_page_only() {
        assert_eq!(error_response("HTTP/0.9", "GET", 400, None, None), error_body(400, None, None));
        assert!(error_response("HTTP/0.9", "HEAD", 400, None, None).is_empty());
        assert!(error_response("HTTP/1.1", "HEAD", 400, None, None).ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn version_response_has_three_fields() {
        let response = text(version_response("13"));
        let lines: Vec<&str> = response.split("\r\n").collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], "HTTP/1.0 400 Bad Request");
        assert_eq!(lines[3..], ["Sec-WebSocket-Version: 13", "", ""]);
    }

    #[test]
    fn repr_is_pythons() {
        for (text, repr) in [
            ("GET", "'GET'"),
            ("it's", "\"it's\""),
            ("'\"", "'\\'\"'"),
            ("a\\b\t\r\n", "'a\\\\b\\t\\r\\n'"),
            ("\0\x1f\x7f\u{85}\u{a0}\u{ad}", "'\\x00\\x1f\\x7f\\x85\\xa0\\xad'"),
            ("\u{e9}\u{ff}", "'\u{e9}\u{ff}'"),
        ] {
            assert_eq!(python_repr(text), repr);
        }
    }
}
