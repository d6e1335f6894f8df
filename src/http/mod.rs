//! HTTP/1.1 beside the WebSocket: request heads, what is demanded of them, error pages, files, CGI
//! scripts.
//!
//! Must not import `bridge` or `server`.

pub mod body;
pub mod cgi;
pub mod conditions;
pub mod error_page;
mod fields;
pub mod files;
pub mod framing;
pub mod head;
pub mod listing;
pub mod policy;
pub mod response;
pub mod root;
pub mod target;
