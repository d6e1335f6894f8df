//! HTTP/1.1 beside the WebSocket.
//!
//! - [`head`] – request heads, with [`fields`]; [`framing`] – their bodies
//! - [`target`] – what a request target names
//! - [`policy`] – what is demanded of requests
//! - [`files`] – files and directories: [`root`] opens them, [`conditions`] are those of the request, [`listing`] is a page
//! - [`cgi`] – which requests are for a script, and what it is told
//! - [`response`] – writes a response, with its [`body`]; [`error_page`](mod@error_page)
//!
//! Must not import `bridge` or `server`.

mod body;
pub mod cgi;
mod conditions;
mod error_page;
mod fields;
mod files;
mod framing;
mod head;
mod listing;
mod policy;
mod response;
mod root;
mod target;

pub use error_page::{error_page, error_response, python_repr, reason_phrase, version_response};
pub use files::{Answer, FileError, Files};
pub use framing::{FramingError, RequestBody, request_body};
pub use head::{HeadError, HeadParser, Rejection, RequestHead};
pub use policy::{PolicyError, PolicySource, TargetError, unauthorized};
pub use response::{Delivery, write_response};
pub use root::{read_pipe, read_regular};
pub use target::{Target, parse_target};
