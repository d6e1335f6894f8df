//! A panic is a mistake in wshost. It costs one connection, and is one ERROR record that says where it happened.
//!
//! Must not import anything but `config` and `logging`.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;
use std::thread;

use crate::config::LogLevel;
use crate::logging::{self, LOG_SERVER};

/// From now on panics of all threads are logged, with a backtrace where `RUST_BACKTRACE` asks for one. Rust's own report
/// would wait for whoever reads stderr, with a lock that all others want who print there.
pub fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            if IS_QUIET.get() {
                return;
            }
            let backtrace = Backtrace::capture();
            let mut record = record(info);
            if backtrace.status() == BacktraceStatus::Captured {
                record = format!("{record}\n{backtrace}");
            }
            logging::emit(LogLevel::Error, LOG_SERVER, &record);
        }));
    });
}

thread_local! {
    /// Whether this thread does what may panic and is no mistake of ours.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, a panic of which tells nothing.
pub fn quietly(work: impl FnOnce()) {
    IS_QUIET.set(true);
    // It is known what the error means.
    let _ = panic::catch_unwind(AssertUnwindSafe(work));
    IS_QUIET.set(false);
}

/// One line.
fn record(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map_or_else(|| "?".to_owned(), ToString::to_string);
    let message = text(info.payload()).split_whitespace().collect::<Vec<_>>().join(" ");
    let thread = rustix::thread::name().ok().and_then(|name| name.into_string().ok());
    let thread = thread.or_else(|| thread::current().name().map(str::to_owned)).unwrap_or_default();
    format!("Panic at {place} on thread {thread:?}: {message} (a mistake in wshost: please report this line)")
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the hook would log for a panic on a thread of its own.
    fn record_of(panics: impl FnOnce() + Send + 'static) -> String {
        use std::sync::mpsc::channel;
        let (told, record) = channel();
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let _ = told.send(super::record(info));
        }));
        let ended = thread::Builder::new().name("wsh-1 /a".to_owned()).spawn(panics).unwrap().join();
        panic::set_hook(before);
        assert!(ended.is_err());
        record.recv().unwrap()
    }

    #[test]
    fn a_record_is_one_line_with_the_place_and_the_thread() {
        let line = line!() + 1;
        let record = record_of(|| panic!("two\nlines: {}", 2));
        let start = format!("Panic at {}:{line}:", file!());
        assert!(record.starts_with(&start), "{record}");
        assert!(record.contains(r#" on thread "wsh-1 /a": two lines: 2 ("#), "{record}");
    }
}
