//! Python: the only module that names PyO3 (with `lib.rs`, which registers it).
//!
//! Rules that hold everywhere here: whatever can wait (socket, lock, join) runs inside
//! [`detached`](python::detach::detached); classes are `frozen` and `Sync`; no lock is held while Python code runs, which
//! [`locks`](crate::locks) checks. Must not import `server`.
//!
//! - [`run`] – a connection on its thread: handshake, data, close
//! - [`load`] – a handler file, until it is a suite of functions
//! - [`api`] – the objects and functions that handlers see, under pywebsocket3's names
//! - [`python`] – the interpreter, the GIL, exceptions, log records, conversions
//!
//! Each names only those that come after it.

use std::sync::LazyLock;

pub mod api;
pub mod load;
pub mod python;
pub mod run;

/// Makes what all processes share and what is made when it is first asked for: a child that is forked meanwhile would
/// wait for it for ever.
pub(crate) fn prepare_for_forks() {
    LazyLock::force(&python::detach::MAY_LOOK);
}

/// Gives this process, a forked child, its own of what each process has one of.
pub(crate) fn renew_after_fork() {
    python::detach::GATE.renew();
    run::connections::SERVERS.renew();
}
