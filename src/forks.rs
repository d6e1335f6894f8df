//! What a child that is forked gets anew: it has none of the parent's other threads, and they may hold locks.
//!
//! One place for the whole crate, above all that it names.

use std::sync::Once;

use crate::{bridge, logging, writer};

/// From now on children get their own.
pub fn prepare() {
    static ONCE: Once = Once::new();
    extern "C" fn in_child() {
        writer::renew_after_fork();
        logging::renew_after_fork();
        bridge::renew_after_fork();
    }
    // SAFETY: `in_child` may run in any thread that forks. It allocates, which glibc allows in a child, and takes
    // no lock. Without memory for the registration, forks are as they were.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}
