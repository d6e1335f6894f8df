//! Writes an `http::Response` to a connection that speaks HTTP/1.1.
//!
//! Must not import pyo3.

use std::io;
use std::time::SystemTime;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::error_page::SERVER;

/// What a response carries.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body out of bytes in memory.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

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
/// not as long as its `Content-Length` (a file that shrank meanwhile), or had none.
pub async fn write_response<W: AsyncWrite + Unpin>(
    socket: &mut W,
    response: Response<Body>,
    delivery: Delivery,
) -> io::Result<bool> {
    let (mut parts, mut body) = response.into_parts();
    // RFC 9110 section 15.4.5: 304 has no content, and its length is nobody's.
    let bodiless = parts.status == http::StatusCode::NOT_MODIFIED;
    if let Some(length) = body.size_hint().exact().filter(|_| !bodiless) {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let keep_alive = delivery.keep_alive && (bodiless || length.is_some());
    if !delivery.body_only {
        socket.write_all(&head_bytes(&parts, keep_alive)).await?;
    }
    if bodiless || delivery.head_only {
        socket.flush().await?;
        return Ok(keep_alive);
    }
    // A file that grows meanwhile must not run into the next response.
    let mut left: u64 = length.unwrap_or(u64::MAX);
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame?.into_data() else { continue };
        data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= data.len() as u64;
        socket.write_all(&data).await?;
        if left == 0 {
            break;
        }
    }
    socket.flush().await?;
    Ok(keep_alive && left == 0)
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
        Response::builder().header(CONTENT_LENGTH, length).body(full(body)).expect("a response")
    }

    #[test]
    fn whole_response() {
        let (text, again) = write(Response::new(full("abc")), DELIVERY);
        assert!(again);
        assert!(text.starts_with(&format!("HTTP/1.1 200 OK\r\nServer: {SERVER}\r\nDate: ")), "{text}");
        assert!(text.ends_with(" GMT\r\nContent-Length: 3\r\n\r\nabc"), "{text}");
    }

    #[test]
    fn closing_is_announced() {
        let (text, again) = write(Response::new(full("")), Delivery { keep_alive: false, ..DELIVERY });
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
        let response = Response::builder().status(304).body(full("")).expect("a response");
        let (text, again) = write(response, DELIVERY);
        assert!(again && !text.contains("Content-Length"), "{text}");
    }

    #[test]
    fn length_is_kept_when_the_body_is_not_as_long() {
        let (text, again) = write(with_length(2, "abc"), DELIVERY);
        assert!(again && text.ends_with("\r\n\r\nab"), "{text}");
        let (text, again) = write(with_length(4, "abc"), DELIVERY);
        assert!(!again && text.ends_with("\r\n\r\nabc"), "{text}");
    }
}
