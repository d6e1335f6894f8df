//! The threads of handlers: each connection gets a new one. A handler may change its thread in more ways than the system
//! tells of (niceness, working directory, rounding, namespaces, what libraries keep for a thread, ...), and the next
//! connection must not find any of it.
//!
//! Must not import pyo3.

use std::io;
use std::thread;

use crate::threads::stack;

/// As much as Python gives its own threads: handlers may recurse. Untouched pages cost nothing.
const STACK_SIZE: usize = 8 << 20;

/// Runs `run` on a thread called `name`, which has no NUL.
pub fn start(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let live = || {
        stack::mark();
        run();
    };
    thread::Builder::new().name(name).stack_size(STACK_SIZE).spawn(live).map(drop)
}
