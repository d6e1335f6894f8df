//! Python: the only module that names PyO3 (with `lib.rs`, which registers it).
//!
//! Rules that hold everywhere here: whatever can wait (socket, lock, join) runs inside [`detach::detached`];
//! classes are `frozen` and `Sync`; no lock is held while Python code runs, which [`locks`] checks. Must not import `server`.
//!
//! - [`interpreter`] – starts Python inside the binary
//! - [`loader`] – handler file → suite; `python2` – one that is still Python 2; [`examine`] – for `wshost check`
//! - [`host`] – a thread for each connection: handshake, data, close
//! - [`connections`] – those that are open, and how they end with the process
//! - [`dispatch`] – the three calls; exception → status or close code
//! - [`request`], [`connection`], [`stream`], [`frames`], [`util`], [`header_util`] – the objects and functions that
//!   handlers see; [`handshake`] and [`handshake_checks`], the opening handshake; [`extensions`],
//!   [`extension_parameters`] and [`deflate_framer`], what it negotiates
//! - `last_call` – calls of Python code that the end of the interpreter may meet
//! - [`payload`], [`socket`], [`transport`], [`detach`], [`locks`], [`limits`] – below them
//! - `refusals` – what is too large to be received; `trim` – what was freed
//! - `threads` – a handler's thread for the system, `python_thread` for Python
//! - [`exceptions`], [`python_logging`] – classes that Python defines and Rust raises; log records

use std::sync::LazyLock;

mod cached;
pub mod connection;
pub mod connections;
pub mod convert;
pub mod deflate_framer;
mod deflation;
pub mod detach;
pub mod dispatch;
pub mod examine;
pub mod exceptions;
pub mod extension_parameters;
pub mod extensions;
pub mod frames;
pub mod handshake;
pub mod handshake_checks;
pub mod header_util;
mod heartbeat;
pub mod host;
pub mod interpreter;
pub mod interruptible;
mod last_call;
pub mod limits;
pub mod loader;
pub mod locks;
mod payload;
mod python2;
pub mod python_logging;
pub(crate) mod python_thread;
mod refusals;
pub mod request;
pub mod running;
pub mod socket;
mod stack;
pub mod stream;
pub mod stream_options;
pub mod suite;
mod threads;
pub mod transport;
mod trim;
pub mod util;

/// Makes what all processes share and what is made when it is first asked for: a child that is forked meanwhile would
/// wait for it for ever.
pub(crate) fn prepare_for_forks() {
    LazyLock::force(&detach::MAY_LOOK);
    LazyLock::force(&heartbeat::TOKEN);
}

/// Gives this process, a forked child, its own of what each process has one of.
pub(crate) fn renew_after_fork() {
    detach::GATE.renew();
    socket::cork::CORKED.renew();
    connections::TABLE.renew();
    running::RUNNING.renew();
    limits::HELD.renew();
    trim::FREED.renew();
}
