//! The end of the server: signals ask for it, a grace period limits it, and a thread that needs nothing but memory
//! sees to it that it comes. And the signal that asks for a fresh look at files.
//!
//! - [`stop`] – the thread that does what signals ask for
//! - [`signals`] – how signals arrive, and what they were before
//! - [`exit`] – ends the process, at once or in time
//! - [`forks`] – what a forked child does with signals
//! - [`failed_writes`] – signals that would end the process when a write fails
//!
//! Must not import pyo3.

mod exit;
mod failed_writes;
mod forks;
mod signals;
mod stop;

pub use exit::{LAST_TIME, exit_at_once, exit_in_time};
pub use failed_writes::{ignore_failed_writes, restore_for_program};
pub use forks::{after_fork, before_fork, restore_in_child};
pub use stop::{Signals, cancel, wait_for};
