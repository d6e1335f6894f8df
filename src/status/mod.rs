//! The status page: what the server does, for people (a page), programs (`/api`) and Prometheus (`/metrics`).
//!
//! - [`page`] – where it is listened on, and its token
//! - [`port`] – the connections, with their limits
//! - [`routes`] – which request gets what; [`shared`] – what all requests share
//! - [`guard`] – who may look
//! - [`samples`] – a sample of the traffic each second
//! - [`live`] – the server-sent events that tell open pages what is new
//! - [`report`] – what is told, as JSON
//! - [`prometheus`] – the same counters as Prometheus wants them
//! - [`clock`] – since when the server runs, and times as numbers
//!
//! It has a listener of its own and only reads. What it tells comes through
//! [`Monitor`](crate::handlers::Monitor); it must not import `bridge`, `server` or pyo3.

mod clock;
mod guard;
mod live;
mod page;
mod port;
mod prometheus;
mod report;
mod routes;
mod samples;
mod shared;

pub use page::Status;

/// Gives this process, a forked child, its own of what each process has one of.
pub(crate) fn renew_after_fork() {
    clock::renew_after_fork();
}
