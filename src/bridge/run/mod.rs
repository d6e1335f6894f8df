//! Connections on their threads.
//!
//! - [`host`] – a thread for each connection: handshake, data, close
//! - [`connections`] – those that are open, and how they end with the process
//! - [`dispatch`] – the three calls; exception → status or close code

pub mod connections;
pub mod dispatch;
pub mod host;
