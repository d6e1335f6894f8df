//! Handlers as files: which one serves which resource, and what is loaded from it.
//!
//! No pyo3 here. `bridge` implements [`Loader`] (make a suite from a file); [`Registry`] calls it.
//!
//! - `resource` – which files count, and which resource each serves; `map_file` – the alias file
//! - `loader` – the side that Python implements; `digest` – what tells contents apart
//! - `handler` – a file that loaded, or did not; `usage` – the connections of its versions
//! - `snapshot` – all handlers at one moment; `status` – the same as plain data
//! - `registry` – the handlers that are loaded now; `files` – what is known of all files, `file_state` of one,
//!   `helpers` of the modules that they import; `tasks` – loads on threads, the `main_thread` among them; `loading` – those that take long;
//!   `slow_loads` – what a start waits for
//! - `report` – what a reload did; `history` – the last ones
//! - `watcher` – reloads what is saved; `watches` – what the system watches
//! - `traffic` – what goes over the connections that handlers have

mod digest;
mod file_state;
mod files;
mod handler;
mod helpers;
mod history;
mod loader;
mod loading;
mod main_thread;
mod map_file;
mod registry;
mod report;
mod resource;
mod slow_loads;
mod snapshot;
mod status;
mod tasks;
#[cfg(test)]
mod testing;
mod traffic;
mod usage;
mod watcher;
mod watches;

pub use digest::Digest;
pub use handler::{Handler, InUse};
pub use history::{Reload, reloads};
pub use loader::{LoadError, Loaded, Loader};
pub use main_thread::MainThread;
pub use map_file::{Alias, MapFile, MapProblem};
pub use registry::Registry;
pub use resource::{is_handler_name, lookup_key, resource_of};
pub use snapshot::Snapshot;
pub use status::HandlerStatus;
pub use traffic::{Activity, BUCKETS, ConnectionStatus, Counters, Monitor, Totals, bucket_end};
pub use watcher::watch;

/// Makes what all processes share and what is made when it is first asked for: a child that is forked meanwhile would
/// wait for it for ever.
pub(crate) fn prepare_for_forks() {
    traffic::prepare_for_forks();
}

/// Gives this process, a forked child, its own of what each process has one of.
pub(crate) fn renew_after_fork() {
    history::renew_after_fork();
}
