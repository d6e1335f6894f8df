//! TLS: what the server proves itself with, its handshakes, and certificates that are replaced while it runs.
//!
//! - [`acceptor`] – handshakes, with the certificates of now
//! - [`settings`] – rustls's configuration
//! - [`certificates`] – certificates and keys out of files, and what is wrong with them
//! - [`self_signed`] – a certificate that is made at the start
//!
//! Must not import `bridge` or pyo3.

mod acceptor;
mod certificates;
mod self_signed;
mod settings;

pub(super) use acceptor::{AcceptError, Tls};
