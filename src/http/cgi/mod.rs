//! CGI scripts (RFC 3875): which requests are for one, and what it is told. Who runs it is `server::script`.
//!
//! - [`finding`] – the script that a request is for
//! - [`rules`] – what makes a file a script
//! - [`script`] – a script that was asked for: what it is called with
//! - [`environment`] – what it is told of the request
//! - [`output`] – what it writes first: its header
//!
//! pywebsocket: directories, rules and environment are those of Python's `CGIHTTPRequestHandler`, with its
//! stricter test for a script. Must not import tokio or pyo3.

mod environment;
mod finding;
mod output;
mod rules;
mod script;

pub use environment::{Request, variables};
pub use finding::Cgi;
pub use output::{Header, HeaderError, Parsed, parse};
pub use rules::{FixedRules, RulesError, ScriptRules, is_program};
pub use script::Script;
