//! Writes an `http::Response` to a connection that speaks HTTP/1.1.
//!
//! Must not import pyo3.

use std::io;
use std::time::SystemTime;

use bytes::Buf as _;
use http::Response;
use http::header::CONTENT_LENGTH;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::body::Body;
use super::error_page::SERVER;

/// How much of a response its client can take.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// The client speaks HTTP/0.9 and gets the body alone.
    pub body_only: bool,
    /// The request was a `HEAD` and gets no body.
    pub head_only: bool,
    /// Another request may follow.
    pub keep_alive: bool,
}

/// Writes `response`. Returns whether the connection can take another request; it cannot when the body was
/// not as long as its `Content-Length` (a file that shrank meanwhile).
pub async fn write_response<W: AsyncWrite + Unpin>(
    socket: &mut W,
    response: Response<Body>,
    delivery: Delivery,
) -> io::Result<bool> {
    let (mut parts, mut body) = response.into_parts();
    // RFC 9110 section 15.4.5: 304 has no content, and its length is nobody's.
    let bodiless = parts.status == http::StatusCode::NOT_MODIFIED;
    if !bodiless {
        parts.headers.entry(CONTENT_LENGTH).or_insert(body.length().into());
    }
    let head = if delivery.body_only { Vec::new() } else { head_bytes(&parts, delivery.keep_alive) };
    if bodiless || delivery.head_only {
        socket.write_all(&head).await?;
        socket.flush().await?;
        return Ok(delivery.keep_alive);
    }
    let mut left = body.length();
    let mut data = body.next().await?;
    left -= data.len() as u64;
    // Together they are one segment, if they are short.
    socket.write_all_buf(&mut (&head[..]).chain(data)).await?;
    while left > 0 {
        data = body.next().await?;
        if data.is_empty() {
            break;
        }
        left -= data.len() as u64;
        socket.write_all(&data).await?;
    }
    socket.flush().await?;
    Ok(delivery.keep_alive && left == 0)
}

fn head_bytes(parts: &http::response::Parts, keep_alive: bool) -> Vec<u8> {
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let date = httpdate::fmt_http_date(SystemTime::now());
    let status = parts.status.as_str();
    let mut head = format!("HTTP/1.1 {status} {reason}\r\nServer: {SERVER}\r\nDate: {date}\r\n").into_bytes();
    for (name, value) in &parts.headers {
        head.extend_from_slice(title_case(name.as_str()).as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if !keep_alive {
        head.extend_from_slice(b"Connection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// `content-type` as `Content-Type`: old clients compare field names as they are.
fn title_case(name: &str) -> String {
    let mut starts_word = true;
    let in_case = |character: char| {
        let cased = if starts_word { character.to_ascii_uppercase() } else { character };
        starts_word = character == '-';
        cased
    };
    name.chars().map(in_case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERY: Delivery = Delivery { body_only: false, head_only: false, keep_alive: true };

    fn write(response: Response<Body>, delivery: Delivery) -> (String, bool) {
        let mut written = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let again = runtime.block_on(write_response(&mut written, response, delivery)).expect("written");
        (String::from_utf8(written).expect("UTF-8"), again)
    }

    fn with_length(length: u64, body: &'static str) -> Response<Body> {
        Response::builder().header(CONTENT_LENGTH, length).body(body.into()).expect("a response")
    }

    #[test]
    fn whole_response() {
        let (text, again) = write(Response::new(Body::from("abc")), DELIVERY);
        assert!(again);
        assert!(text.starts_with(&format!("HTTP/1.1 200 OK\r\nServer: {SERVER}\r\nDate: ")), "{text}");
        assert!(text.ends_with(" GMT\r\nContent-Length: 3\r\n\r\nabc"), "{text}");
    }

    #[test]
    fn closing_is_announced() {
        let (text, again) = write(Response::new(Body::default()), Delivery { keep_alive: false, ..DELIVERY });
        assert!(!again && text.ends_with("\r\nConnection: close\r\n\r\n"), "{text}");
    }

    #[test]
    fn head_and_http09() {
        let (text, again) = write(with_length(3, "abc"), Delivery { head_only: true, ..DELIVERY });
        assert!(again && text.ends_with("Content-Length: 3\r\n\r\n"), "{text}");
        let (text, _) = write(with_length(3, "abc"), Delivery { body_only: true, ..DELIVERY });
        assert_eq!(text, "abc");
    }

    #[test]
    fn not_modified_has_no_length() {
        let response = Response::builder().status(304).body(Body::default()).expect("a response");
        let (text, again) = write(response, DELIVERY);
        assert!(again && !text.contains("Content-Length"), "{text}");
    }

    #[test]
    fn a_file_that_changes_meanwhile_keeps_its_length_or_ends_the_connection() {
        let mut file = tempfile::tempfile().expect("a file");
        let content = "0123456789".repeat(20_000);
        std::io::Write::write_all(&mut file, content.as_bytes()).expect("written");
        let last = content.len() as u64 - 1;
        let body = || Body::part_of(file.try_clone().expect("a file"), 1..=last).expect("a body");
        let (text, again) = write(Response::new(body()), DELIVERY);
        assert!(again && text.ends_with(&format!("Content-Length: {last}\r\n\r\n{}", &content[1..])));
        let before = body();
        file.set_len(250_000).expect("longer");
        let (text, again) = write(Response::new(before), DELIVERY);
        assert!(again && text.ends_with(&content[1..]));
        let before = body();
        file.set_len(100_000).expect("shorter");
        let (text, again) = write(Response::new(before), DELIVERY);
        assert!(!again && text.ends_with(&content[1..100_000]));
    }
}
