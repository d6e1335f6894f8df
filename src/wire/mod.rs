//! A connection's bytes, for a thread that may wait for them.
//!
//! - [`transport`] – a socket, with TLS or without, and the trace of its bytes
//! - [`socket`] – frames to be read and written; `cork` – short answers together; `linger` – the last words
//! - `heartbeat` – `--ping-interval`
//! - [`limits`] – what a peer may make us hold; `trim` – what was freed goes back to the system
//!
//! Must not import pyo3, `bridge` or `server`.

use std::sync::LazyLock;

mod heartbeat;
pub mod limits;
pub mod socket;
pub mod transport;
pub mod trim;

/// Makes what is made when it is first asked for: a child that is forked meanwhile would wait for it for ever.
pub(crate) fn prepare_for_forks() {
    LazyLock::force(&heartbeat::TOKEN);
    LazyLock::force(&limits::DEFAULT);
}

/// Gives this process, a forked child, its own of what each process has one of.
pub(crate) fn renew_after_fork() {
    socket::cork::CORKED.renew();
    trim::FREED.renew();
}
