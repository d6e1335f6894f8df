//! The log: `tracing` in pywebsocket's line format, on stderr or appended to a file.
//!
//! ```text
//! [2026-11-23 23:07:25,123] [INFO] wshost.server.listener: Port 9998 is assigned
//! ```
//!
//! Rust code logs with `tracing`'s macros. Two things they cannot say go through [`emit`]: a logger name that is
//! known at run time (Python's `logging`), and CRITICAL, which `tracing` does not have. TRACE is FINE.
//! Must not import anything but `config` and `error`.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::RwLock;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, callsite};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::config::{LogConfig, LogLevel};
use crate::error::StartError;

/// The logger of what concerns the whole server (pywebsocket's name).
pub const LOG_SERVER: &str = "pywebsocket3.websocket_server.WebSocketServer";
/// The logger of what concerns one request (pywebsocket's name).
pub const LOG_REQUEST: &str = "pywebsocket3.request_handler.WebSocketRequestHandler";

/// Least severe level that is written, as its place in [`LogLevel`]. Before [`init`] it is WARNING, as with
/// Python's `logging` before it is configured.
static THRESHOLD: AtomicU8 = AtomicU8::new(LogLevel::Warning as u8);

/// Where records go; `None` is stderr.
static FILE: RwLock<Option<File>> = RwLock::new(None);

/// The time of a record, as Python's `logging` writes it: local, the milliseconds behind a comma.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second],[subsecond digits:3]");

/// Opens the log and takes `tracing`'s events from here on.
///
/// May be called again; the last call counts. A subscriber that a program around us has set before stays and
/// gets the events instead of the log.
pub fn init(config: &LogConfig) -> Result<(), StartError> {
    let file =
        match &config.file {
            None => None,
            Some(path) => {
                Some(OpenOptions::new().create(true).append(true).open(path).map_err(|source| {
                    StartError::File { option: "--log-file", path: path.clone(), source }
                })?)
            }
        };
    *FILE.write() = file;
    THRESHOLD.store(config.level as u8, Ordering::Relaxed);
    // Fails when this is not the first call, and then the subscriber is there already.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(LineLayer));
    // The threshold may have changed since tracing asked for it.
    callsite::rebuild_interest_cache();
    Ok(())
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
        write_record(level, logger, message);
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
        let Fields { mut message, others, logger, .. } = fields;
        message.push_str(&others);
        match logger {
            Some(logger) => write_record(level, &logger, &message),
            None => write_record(level, &metadata.target().replace("::", "."), &message),
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
    /// Its other fields, each as ` name=value`.
    others: String,
    /// The logger's name that goes before the event's target.
    logger: Option<String>,
    /// Whether an ERROR is CRITICAL.
    critical: bool,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "logger" => self.logger = Some(value.to_owned()),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "critical" => self.critical = value,
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

/// One record, one write, so that records of several threads and processes do not mix. A log that cannot be
/// written to is no reason to stop serving.
fn write_record(level: LogLevel, logger: &str, message: &str) {
    let now = OffsetDateTime::now_local().unwrap_or_else(|_| OffsetDateTime::now_utc());
    let line = line(now, level, logger, message);
    let _ = match FILE.read().as_ref() {
        Some(mut file) => file.write_all(line.as_bytes()),
        None => io::stderr().lock().write_all(line.as_bytes()),
    };
}

/// The text of a record, its end of line included.
fn line(time: OffsetDateTime, level: LogLevel, logger: &str, message: &str) -> String {
    let time = time.format(TIME).unwrap_or_default();
    format!("[{time}] [{}] {logger}: {message}\n", level.label())
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::path::Path;
    use std::process::Command;
    use std::thread;

    use time::macros::{datetime, offset};

    use super::*;

    #[test]
    fn a_line_is_pywebsockets() {
        let time = datetime!(2026-11-23 23:07:25.123_999 UTC);
        let table = [
            (LogLevel::Fine, "FINE"),
            (LogLevel::Debug, "DEBUG"),
            (LogLevel::Info, "INFO"),
            (LogLevel::Warning, "WARNING"),
            (LogLevel::Error, "ERROR"),
            (LogLevel::Critical, "CRITICAL"),
        ];
        for (level, label) in table {
            assert_eq!(
                line(time, level, "a.b", "text"),
                format!("[2026-11-23 23:07:25,123] [{label}] a.b: text\n")
            );
        }
        let short = line(datetime!(2026-01-02 03:04:05.006 UTC), LogLevel::Info, "l", "");
        assert_eq!(short, "[2026-01-02 03:04:05,006] [INFO] l: \n");
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let config = LogConfig {
            level: LogLevel::Info,
            file: Some(directory.path().to_owned()),
            ..LogConfig::default()
        };
        let error = init(&config).unwrap_err().to_string();
        assert!(error.starts_with(&format!("--log-file {}: ", directory.path().display())), "{error}");
    }

    /// Runs `scenario` of [`child`] in a process of its own, because the log is one per process, and gives
    /// what it wrote to stderr.
    fn run(scenario: &str, file: Option<&Path>, time_zone: &str) -> String {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "logging::tests::child", "--ignored", "--nocapture"]);
        command.env("WSHOST_TEST_SCENARIO", scenario).env("TZ", time_zone);
        if let Some(file) = file {
            command.env("WSHOST_TEST_FILE", file);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    #[ignore = "run by the other tests, in a process of its own"]
    fn child() {
        let file = env::var_os("WSHOST_TEST_FILE").map(Into::into);
        let at = |level| LogConfig { level, file: Option::clone(&file), ..LogConfig::default() };
        match env::var("WSHOST_TEST_SCENARIO").unwrap().as_str() {
            "no init" => every_level(),
            "fine" => {
                init(&at(LogLevel::Fine)).unwrap();
                every_level();
            }
            "levels" => {
                for level in [LogLevel::Info, LogLevel::Critical, LogLevel::Fine, LogLevel::Error] {
                    init(&at(level)).unwrap();
                    every_level();
                    emit(LogLevel::Critical, "-", "-");
                }
            }
            "events" => {
                init(&at(LogLevel::Info)).unwrap();
                tracing::info!("plain {}", 1);
                tracing::warn!(target: "a::b", port = 9998, name = "x", "with fields");
                tracing::error!(logger = "run.time", "named");
                emit(LogLevel::Error, "py", "Traceback:\n  File \"a_wsh.py\"\n");
            }
            "threads" => {
                init(&at(LogLevel::Info)).unwrap();
                thread::scope(|scope| {
                    for thread in 0..8 {
                        scope.spawn(move || {
                            for _ in 0..200 {
                                emit(LogLevel::Info, "t", &format!("{thread}\n{thread}"));
                            }
                        });
                    }
                });
            }
            other => panic!("no scenario {other}"),
        }
    }

    fn every_level() {
        tracing::trace!("event");
        tracing::debug!("event");
        tracing::info!("event");
        tracing::warn!("event");
        tracing::error!("event");
        emit(LogLevel::Fine, "py", "emit");
        emit(LogLevel::Debug, "py", "emit");
        emit(LogLevel::Info, "py", "emit");
        emit(LogLevel::Warning, "py", "emit");
        emit(LogLevel::Error, "py", "emit");
        emit(LogLevel::Critical, "py", "emit");
    }

    /// Lines without the time.
    fn untimed(log: &str) -> Vec<&str> {
        log.lines().map(|line| line.split_once("] ").map_or(line, |(_, rest)| rest)).collect()
    }

    #[test]
    fn writes_to_stderr_without_init_what_python_would() {
        let log = run("no init", None, "UTC");
        assert_eq!(untimed(&log), ["[WARNING] py: emit", "[ERROR] py: emit", "[CRITICAL] py: emit"]);
    }

    #[test]
    fn writes_every_level_to_stderr_in_local_time() {
        let before = OffsetDateTime::now_utc();
        let log = run("fine", None, "XXX-14");
        let target = "wshost.logging.tests";
        assert_eq!(
            untimed(&log),
            [
                format!("[FINE] {target}: event"),
                format!("[DEBUG] {target}: event"),
                format!("[INFO] {target}: event"),
                format!("[WARNING] {target}: event"),
                format!("[ERROR] {target}: event"),
                "[FINE] py: emit".to_owned(),
                "[DEBUG] py: emit".to_owned(),
                "[INFO] py: emit".to_owned(),
                "[WARNING] py: emit".to_owned(),
                "[ERROR] py: emit".to_owned(),
                "[CRITICAL] py: emit".to_owned(),
            ]
        );
        let hour = |time: OffsetDateTime| {
            line(time.to_offset(offset!(+14)), LogLevel::Info, "", "")[..14].to_owned()
        };
        let hours = [hour(before), hour(OffsetDateTime::now_utc())];
        assert!(hours.contains(&log[..14].to_owned()), "{hours:?}: {log}");
    }

    #[test]
    fn the_last_init_decides_the_level() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ws.log");
        std::fs::write(&file, "[old] before\n").unwrap();
        assert_eq!(run("levels", Some(&file), "UTC"), "");
        let log = std::fs::read_to_string(&file).unwrap();
        let records = untimed(&log);
        assert_eq!(records[0], "before");
        let counts: Vec<usize> =
            records[1..].split(|line| *line == "[CRITICAL] -: -").map(<[_]>::len).collect();
        assert_eq!(counts, [7, 1, 11, 3, 0]);
    }

    #[test]
    fn events_show_their_logger_message_and_fields() {
        let log = run("events", None, "UTC");
        assert_eq!(
            untimed(&log),
            [
                "[INFO] wshost.logging.tests: plain 1",
                "[WARNING] a.b: with fields port=9998 name=\"x\"",
                "[ERROR] run.time: named",
                "[ERROR] py: Traceback:",
                "  File \"a_wsh.py\"",
                "",
            ]
        );
    }

    #[test]
    fn records_of_several_lines_stay_whole() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ws.log");
        run("threads", Some(&file), "UTC");
        let log = std::fs::read_to_string(&file).unwrap();
        let lines = untimed(&log);
        assert_eq!(lines.len(), 8 * 200 * 2);
        for record in lines.chunks(2) {
            assert_eq!(record[0], format!("[INFO] t: {}", record[1]));
        }
    }

    #[test]
    fn enabled_counts_from_the_threshold_up() {
        assert!(enabled(LogLevel::Critical) && enabled(LogLevel::Warning));
        assert!(!enabled(LogLevel::Info) && !enabled(LogLevel::Fine));
    }
}
