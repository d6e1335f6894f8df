//! What a child that is forked gets anew: it has none of the parent's other threads, and they may hold locks.
//!
//! One place for the whole crate, above all that it names. Whatever is `static` and may be locked, waited for or changed
//! by another thread is on the list in [`renew`]; a test (`tests/rust/forks.rs`) finds what is not.

use std::io;
use std::sync::OnceLock;

use crate::{bridge, handlers, logging, per_process, shutdown, status, websocket, wire, writer};

/// From now on children get their own. An error: there is no memory for that.
pub fn prepare() -> io::Result<()> {
    static RESULT: OnceLock<i32> = OnceLock::new();
    let result = *RESULT.get_or_init(|| {
        per_process::begin();
        bridge::prepare_for_forks();
        wire::prepare_for_forks();
        handlers::prepare_for_forks();
        // SAFETY: the functions may run in any thread that forks. `in_child` allocates, which glibc allows in a child,
        // and takes no lock.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) }
    });
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

extern "C" fn before() {
    shutdown::before_fork();
}

extern "C" fn in_parent() {
    shutdown::after_fork();
}

extern "C" fn in_child() {
    per_process::begin();
    renew();
    // Last: a signal may end this process from here on.
    shutdown::restore_in_child();
}

/// Gives this process its own of what each process has one of.
fn renew() {
    writer::renew_after_fork();
    logging::renew_after_fork();
    bridge::renew_after_fork();
    wire::renew_after_fork();
    handlers::renew_after_fork();
    status::renew_after_fork();
    websocket::renew_after_fork();
}
