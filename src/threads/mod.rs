//! The threads of handlers, for the system.
//!
//! - `start` – one for each connection; `stack` – its stack, which is given back while it waits
//! - `monitor` – what the log says of many (`--thread-monitor-interval-in-sec`)
//!
//! Must not import pyo3.

mod monitor;
pub mod stack;
mod start;

pub use monitor::monitor;
pub use start::start;
