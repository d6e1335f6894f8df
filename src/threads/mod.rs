//! The threads of handlers, for the system.
//!
//! - `start` – one for each connection; `stack` – its stack, which is given back while it waits
//! - [`running`] – those that run, and what the log says of many
//!
//! Must not import pyo3.

pub mod running;
pub mod stack;
mod start;

pub use start::start;

/// Gives this process, a forked child, its own of what each process has one of.
pub(crate) fn renew_after_fork() {
    running::RUNNING.renew();
}
