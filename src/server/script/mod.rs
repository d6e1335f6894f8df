//! Runs CGI scripts: the body of a request goes in, output goes out while it comes, and a script ends with its client, or
//! with the server, together with all that it has started.
//!
//! - [`scripts`] – the scripts of a server: how many run, and how one starts
//! - [`user`] – who they run as
//! - [`running`] – one that runs: its output on the way to its client
//! - [`input`] – what its client sends
//! - [`process`] – its process, and the end of that
//! - [`stderr`] – its complaints, in the log
//!
//! Must not import `bridge` or pyo3.

mod input;
mod process;
mod running;
mod scripts;
mod stderr;
mod user;

pub(super) use process::ASKED_TIME;
pub(super) use running::{Client, Outcome};
pub(super) use scripts::Scripts;
