//! HTTP/1.1 beside the WebSocket: request heads, error pages, files.

pub mod error_page;
pub mod files;
pub mod head;
