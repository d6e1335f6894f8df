//! Listening sockets, and the connections that they accept.
//!
//! - [`listeners`] – the sockets of a server: what it listens on, and how they come into a runtime
//! - [`addresses`] – every address of a name, with one port
//! - [`unix_path`] – a Unix socket, and the file that it is reached by
//! - [`passed`] – sockets that others opened and passed to us by number
//! - [`accepting`] – the next connection
//!
//! Must not import pyo3.

mod accepting;
mod addresses;
mod listeners;
mod passed;
mod unix_path;

pub(super) use accepting::Listener;
pub use listeners::Listeners;
pub use passed::check_passed;
