//! The async side: listeners, and each connection up to where its handler takes over.
//!
//! - [`serve`](mod@serve) – the server of a process: its own runtime, signals, the ready line
//! - [`ready`] – tells people and programs that it listens
//! - [`run`](mod@run) – the same server inside somebody else's process, from its listeners to the end
//! - [`opened`] – certificates and the trace, opened before it serves
//! - [`listening`] – sockets that listen; [`stream`] – what a connection's bytes go over; [`tls`]
//! - [`accept`] – takes connections, each served by a task of its own
//! - [`context`] – what all connections share
//! - [`requests`] – the way of a connection, up to its end or its handler
//! - [`http_connection`] – where its requests come from; [`ending`] – what ends it; [`linger`] – its last bytes
//! - [`answer`] – answers to requests for files and scripts; [`script`] – runs these
//! - [`access_log`] – what is logged of requests
//!
//! Must not import `bridge` or pyo3; handlers are reached through [`HandlerHost`](crate::handover::HandlerHost).

mod accept;
mod access_log;
mod answer;
mod context;
mod ending;
mod http_connection;
mod linger;
mod listening;
mod opened;
mod ready;
mod requests;
mod run;
mod script;
mod serve;
mod stream;
mod tls;

pub use listening::{Listeners, check_passed};
pub use opened::check_certificates;
pub use ready::Descriptor as ReadyDescriptor;
pub use run::{Asked, run};
pub use serve::{runtime, serve};
