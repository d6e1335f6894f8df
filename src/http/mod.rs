//! HTTP/1.1 beside the WebSocket: request heads, what is demanded of them, error pages, files.
//!
//! Must not import `bridge` or `server`.

pub mod error_page;
mod fields;
pub mod files;
pub mod head;
pub mod listing;
pub mod policy;
pub mod response;
pub mod target;
