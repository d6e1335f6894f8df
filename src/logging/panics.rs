//! Panics are records of the log: Rust's own message would wait for whoever reads stderr, with a lock that all others
//! want who print there.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use super::LOG_SERVER;

/// From now on they are logged, with a backtrace where `RUST_BACKTRACE` asks for one.
pub(super) fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(record)));
}

fn record(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let backtrace = Backtrace::capture();
    let trace = if backtrace.status() == BacktraceStatus::Captured {
        format!("\n{backtrace}")
    } else {
        String::new()
    };
    tracing::error!(target: LOG_SERVER, "A thread has panicked at {place}: {text}; please report this{trace}");
}
