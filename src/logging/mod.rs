//! The log: `tracing` in pywebsocket's line format, on stderr or appended to a file.
//!
//! ```text
//! [2026-11-23 23:07:25,123] [INFO] wshost.server.listener: Port 9998 is assigned
//! ```
//!
//! Rust code logs with `tracing`'s macros. Two things they cannot say go through [`emit`]: a logger name that is
//! known at run time (Python's `logging`), and CRITICAL, which `tracing` does not have. TRACE is FINE.
//! Nobody who logs waits for whoever reads the log: a thread writes it (`crate::writer`). [`flush`] waits, for a while.
//! Must not import anything but `config`, `error`, `per_process` and `writer`.

mod clock;
mod kept;
mod names;
mod output;
mod record;
pub mod tail;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, callsite};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::config::{LogConfig, LogLevel};
use crate::error::StartError;
use crate::per_process::PerProcess;
use crate::writer::{self, Queue, Target};
use output::LogFile;
use record::{Record, Style};

pub use kept::{KeptRecord, given, is_keeping, is_settled, next_kept, settle, wait_for_kept, wake};
pub use names::{LOG_REQUEST, LOG_SERVER};

/// Least severe level that is written, as its place in [`LogLevel`]. Before [`init`] it is WARNING, as with
/// Python's `logging` before it is configured.
static THRESHOLD: AtomicU8 = AtomicU8::new(LogLevel::Warning as u8);

/// How many bytes of the log may wait to be written.
const LIMIT: usize = 4 * 1024 * 1024;

/// How long the end of the process may take to write what was logged.
pub const FLUSH_TIME: Duration = Duration::from_secs(5);

/// The log that [`init`] has opened.
struct Log {
    /// Where records go; `None`: to stderr.
    file: Option<Queue>,
    style: Style,
}

/// Read without a lock: a child that was forked logs, too.
static LOG: ArcSwapOption<Log> = ArcSwapOption::const_empty();

/// What is written to stderr, records and other lines. `None`: there can be no thread for it.
static STDERR: PerProcess<OnceLock<Option<Queue>>> = PerProcess::new(OnceLock::new(), OnceLock::new);

/// Whether this is a forked child that has not called [`init`] itself: it writes without a thread, which its end
/// would overtake.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Whether [`init`] was called.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// Opens the log and takes `tracing`'s events from here on.
///
/// May be called again; the last call counts. A subscriber that a program around us has set before stays and
/// gets the events instead of the log.
pub fn init(config: &LogConfig) -> Result<(), StartError> {
    let style = Style::new(config.format, config.file.is_none() && output::is_terminal());
    let file = LogFile::of(config, tell)?.map(|file| {
        let target = file.target();
        Queue::start("wshost-log", LIMIT, target, file, move |count| dropped(count, style))
    });
    let file = file.transpose().map_err(StartError::Runtime)?;
    // What went to the log before stands before what comes now, also where both are one file.
    flush(FLUSH_TIME);
    if IS_CHILD.swap(false, Ordering::Relaxed) {
        STDERR.renew();
    }
    LOG.store(Some(Log { file, style }.into()));
    IS_OPEN.store(true, Ordering::Relaxed);
    kept::switch(false);
    subscribe(config.level);
    Ok(())
}

/// Gives this process, a forked child, its own of what the parent's other threads may hold. Must take no lock.
pub fn renew_after_fork() {
    IS_CHILD.store(true, Ordering::Relaxed);
    tail::renew_after_fork();
    kept::renew_after_fork();
    clock::renew_after_fork();
}

/// Waits until what was logged, told and traced is written: for `limit` at most, and no longer than a second for a
/// reader that does not read. For the end of the process; one that must end at once leaves it out.
pub fn flush(limit: Duration) {
    writer::flush(limit);
}

/// Says something to people on stderr, in its order with the records there: whole lines, without the last line end.
/// Does not wait.
pub fn tell(text: &str) {
    to_stderr(|| format!("{text}\n").into_bytes());
}

fn to_stderr(record: impl FnOnce() -> Vec<u8>) {
    if IS_CHILD.load(Ordering::Relaxed) && STDERR.get().get().is_none() {
        return writer::write_now(&Target::Stderr, &record());
    }
    let queue = STDERR.get().get_or_init(|| {
        let note = |count| dropped(count, LOG.load().as_ref().map_or(Style::PLAIN, |log| log.style));
        Queue::start("wshost-stderr", LIMIT, Target::Stderr, output::Stderr::default(), note).ok()
    });
    match queue {
        Some(queue) => queue.put(record),
        None => writer::write_now(&Target::Stderr, &record()),
    }
}

/// The record for records that were dropped.
fn dropped(count: u64, style: Style) -> Vec<u8> {
    let message = format!("{count} records were dropped: nobody read the log, or it could not be written");
    let (level, logger) = (LogLevel::Warning, LOG_SERVER);
    Record { time: clock::now(), level, logger, message: &message, fields: &[] }.format(style).into_bytes()
}

/// Keeps records of `level` and above for the program around us, which gets them with [`take_kept`]. May be called
/// again, with another level. Does nothing after [`init`]: that program's records go to our log then.
pub fn keep(level: LogLevel) {
    if IS_OPEN.load(Ordering::Relaxed)
        || (kept::is_keeping() && THRESHOLD.load(Ordering::Relaxed) == level as u8)
    {
        return;
    }
    kept::switch(true);
    subscribe(level);
}

/// Takes `tracing`'s events of `level` and above.
fn subscribe(level: LogLevel) {
    THRESHOLD.store(level as u8, Ordering::Relaxed);
    // Once: `tracing` takes a lock for each further one when it sees an event for the first time.
    if !tracing::dispatcher::has_been_set() {
        // Fails when another thread was faster.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(LineLayer));
    }
    // The threshold may have changed since tracing asked for it.
    callsite::rebuild_interest_cache();
}

/// Whether records of this level are written; one atomic load.
#[must_use]
pub fn enabled(level: LogLevel) -> bool {
    level as u8 >= THRESHOLD.load(Ordering::Relaxed)
}

/// Logs `message` under a logger name of the caller's; of several lines, they stay together.
///
/// Without [`init`], and without a subscriber of the program around us, it goes to stderr.
pub fn emit(level: LogLevel, logger: &str, message: &str) {
    if !enabled(level) {
        return;
    }
    if !tracing::dispatcher::has_been_set() {
        write(level, logger, message, &[]);
        return;
    }
    match level {
        LogLevel::Fine => tracing::trace!(logger, "{message}"),
        LogLevel::Debug => tracing::debug!(logger, "{message}"),
        LogLevel::Info => tracing::info!(logger, "{message}"),
        LogLevel::Warning => tracing::warn!(logger, "{message}"),
        LogLevel::Error => tracing::error!(logger, "{message}"),
        LogLevel::Critical => tracing::error!(logger, critical = true, "{message}"),
    }
}

/// Writes each event as one line of the log.
struct LineLayer;

impl<S: Subscriber> Layer<S> for LineLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // An ERROR event may turn out to be CRITICAL; on_event decides.
        *metadata.level() == Level::ERROR || enabled(level_of(*metadata.level()))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        [
            (LogLevel::Fine, LevelFilter::TRACE),
            (LogLevel::Debug, LevelFilter::DEBUG),
            (LogLevel::Info, LevelFilter::INFO),
            (LogLevel::Warning, LevelFilter::WARN),
        ]
        .into_iter()
        .find_map(|(level, filter)| enabled(level).then_some(filter))
        .or(Some(LevelFilter::ERROR))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let level = if fields.critical { LogLevel::Critical } else { level_of(*metadata.level()) };
        if !enabled(level) {
            return;
        }
        match &fields.logger {
            Some(logger) => write(level, logger, &fields.message, &fields.others),
            None => write(level, &metadata.target().replace("::", "."), &fields.message, &fields.others),
        }
    }
}

/// pywebsocket's level of a `tracing` level.
fn level_of(level: Level) -> LogLevel {
    match level {
        Level::TRACE => LogLevel::Fine,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warning,
        Level::ERROR => LogLevel::Error,
    }
}

/// What an event carries.
#[derive(Default)]
struct Fields {
    /// Its text.
    message: String,
    /// Its other fields.
    others: Vec<(&'static str, Value)>,
    /// The logger's name that goes before the event's target.
    logger: Option<String>,
    /// Whether an ERROR is CRITICAL.
    critical: bool,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.others.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "logger" => self.logger = Some(value.to_owned()),
            _ => self.add(field, value.into()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "critical" => self.critical = value,
            _ => self.add(field, value.into()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            // Writing to a String cannot fail.
            "message" => drop(write!(self.message, "{value:?}")),
            _ => self.add(field, format!("{value:?}").into()),
        }
    }
}

/// One record, one write, so that records of several threads and processes do not mix. A log that cannot be
/// written to is no reason to stop serving.
fn write(level: LogLevel, logger: &str, message: &str, fields: &[(&'static str, Value)]) {
    let record = Record { time: clock::now(), level, logger, message, fields };
    tail::add(&record);
    let for_others = || KeptRecord { level, logger: logger.to_owned(), message: record.text_alone() };
    if kept::keep(for_others) {
        return;
    }
    let log = LOG.load();
    let bytes = |style| record.format(style).into_bytes();
    match log.as_deref() {
        Some(Log { file: Some(queue), style }) => queue.put(|| bytes(*style)),
        Some(Log { file: None, style }) => to_stderr(|| bytes(*style)),
        // A thread would be much for the one word that a program around us does not expect.
        None => writer::write_now(&Target::Stderr, &bytes(Style::PLAIN)),
    }
}
