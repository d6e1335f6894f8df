//! The request head: from bytes to [`RequestHead`].

use bytes::Bytes;

/// A request line and its header fields.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The bytes as received, the empty line that ends them included.
    pub raw: Bytes,
    /// The method, as sent (`GET`).
    pub method: String,
    /// The request target, as sent (`/echo?x=1`).
    pub target: String,
    /// The protocol of the request line (`HTTP/1.1`).
    pub protocol: String,
    /// Field names (as sent) and values in order, decoded as ISO-8859-1 (as `http.client` does), without the
    /// white space around them.
    pub headers: Vec<(String, String)>,
}
