//! RFC 6455 and RFC 7692 as pure functions and small state machines: bytes in, values out.
//!
//! Must not import tokio or pyo3.

pub mod close;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod header;
pub mod mask;
pub mod memory;
pub mod message;
pub mod reader;
#[cfg(test)]
mod testing;
pub mod utf8;

/// Gives this process, a forked child, its own of what each process has one of.
pub(crate) fn renew_after_fork() {
    deflate::IDLE.renew();
}
