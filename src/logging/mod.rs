//! The log: `tracing` in pywebsocket's line format, on stderr or appended to a file.
//!
//! ```text
//! [2026-11-23 23:07:25,123] [INFO] wshost.server.listener: Port 9998 is assigned
//! ```
//!
//! Rust code logs with `tracing`'s macros. Two things they cannot say go through [`emit`]: a logger name that is
//! known at run time (Python's `logging`), and CRITICAL, which `tracing` does not have. TRACE is FINE.
//! Must not import anything but `config` and `error`.

mod kept;
mod output;
mod record;
pub mod tail;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;
use serde_json::Value;
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, callsite};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::config::{LogConfig, LogLevel};
use crate::error::StartError;
use output::Output;
use record::{Record, Style};

pub use kept::{KeptRecord, is_keeping, kept, take_kept};

/// The logger of what concerns the whole server (pywebsocket's name).
pub const LOG_SERVER: &str = "pywebsocket3.websocket_server.WebSocketServer";
/// The logger of what concerns one request (pywebsocket's name).
pub const LOG_REQUEST: &str = "pywebsocket3.request_handler.WebSocketRequestHandler";

/// Least severe level that is written, as its place in [`LogLevel`]. Before [`init`] it is WARNING, as with
/// Python's `logging` before it is configured.
static THRESHOLD: AtomicU8 = AtomicU8::new(LogLevel::Warning as u8);

/// Where records go, and in which form.
static OUTPUT: Mutex<(Output, Style)> = Mutex::new((Output::Stderr, Style::Text { colours: false }));

/// Whether [`init`] was called.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// Opens the log and takes `tracing`'s events from here on.
///
/// May be called again; the last call counts. A subscriber that a program around us has set before stays and
/// gets the events instead of the log.
pub fn init(config: &LogConfig) -> Result<(), StartError> {
    let output = Output::open(config)?;
    let style = Style::new(config.format, output.is_terminal());
    *OUTPUT.lock() = (output, style);
    IS_OPEN.store(true, Ordering::Relaxed);
    kept::switch(false);
    subscribe(config.level);
    Ok(())
}

/// Keeps records of `level` and above for the program around us, which gets them with [`take_kept`]. May be called
/// again, with another level. Does nothing behind [`init`]: that program's records go to our log then.
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
    // Fails when this is not the first call, and then the subscriber is there already.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(LineLayer));
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
    let time = OffsetDateTime::now_local().unwrap_or_else(|_| OffsetDateTime::now_utc());
    let record = Record { time, level, logger, message, fields };
    tail::add(&record);
    let for_others = || KeptRecord { level, logger: logger.to_owned(), message: record.text_alone() };
    if kept::keep(for_others) {
        return;
    }
    let (output, style) = &mut *OUTPUT.lock();
    output.write(record.format(*style).as_bytes());
}
