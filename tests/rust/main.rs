//! The async side on real sockets and real files: no Python, a stub in place of the handlers.

mod cgi;
mod files;
mod handover;
mod heads;
mod layers;
mod lifecycle;
mod policy;
mod support;
mod tls;
