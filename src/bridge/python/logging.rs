//! Log records of the Python side, under the reference's logger names.
//!
//! They go through Python's `logging`, so that harnesses and handlers see them; in the server process a
//! handler of the root logger passes them on to `crate::logging`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::bridge::python::cached::Cached;
use crate::bridge::python::last_call::call;
use crate::config::{LogConfig, LogLevel};
use crate::error::{PythonError, StartError};
use crate::locks;
use crate::logging::{self, KeptRecord, LOG_REQUEST, LOG_SERVER};

/// `logging.DEBUG` and so on, and pywebsocket's own `common.LOGLEVEL_FINE`.
#[derive(Debug, Clone, Copy)]
pub enum Level {
    /// 9: each step of each frame.
    Fine = 9,
    /// 10.
    Debug = 10,
    /// 20.
    Info = 20,
    /// 30.
    Warning = 30,
    /// 40.
    Error = 40,
}

/// A named logger, looked up on first use.
pub struct Logger {
    name: &'static str,
    logger: Cached<Py<PyAny>>,
}

impl Logger {
    /// A logger called `name`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, logger: Cached::new() }
    }

    fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let logger = self.logger.get_or_try_init(|| {
            py.import("logging")?.call_method1("getLogger", (self.name,)).map(Bound::unbind)
        })?;
        Ok(logger.bind(py))
    }

    /// Whether a record of `level` would be written.
    pub fn enabled(&self, py: Python<'_>, level: Level) -> bool {
        locks::none_is_held();
        self.get(py)
            .and_then(|logger| logger.call_method1("isEnabledFor", (level as i32,)))
            .and_then(|enabled| enabled.is_truthy())
            .unwrap_or(false)
    }

    /// Writes a record; `text` is only made when the level is on. Where Python's `logging` fails (a handler took
    /// `sys.stderr` away, or put a bad handler there), the record goes straight to the server's log.
    pub fn log(&self, py: Python<'_>, level: Level, text: impl FnOnce() -> String) {
        if !self.enabled(py, level) {
            return;
        }
        let text = text();
        let written =
            self.get(py).and_then(|logger| call(&logger.getattr("log")?, (level as i32, "%s", &text)));
        if let Err(error) = written {
            log_record(py, level as i32, self.name, &text);
            log_record(py, Level::Warning as i32, self.name, &format!("Python's logging failed: {error}"));
        }
    }
}

/// The traceback of `error` as Python prints it.
pub fn traceback(py: Python<'_>, error: &PyErr) -> String {
    let lines = py.import("traceback").and_then(|module| {
        let arguments = (error.get_type(py), error.value(py), error.traceback(py));
        module.call_method1("format_exception", arguments)?.extract::<Vec<String>>()
    });
    lines.map_or_else(|_| error.to_string(), |lines| lines.concat())
}

/// So many bytes of what is quoted are shown.
const MAX_QUOTED: usize = 64 << 10;

/// Python's `repr()` of a value, for messages that quote one: its beginning, if it is very long. A `__repr__` that fails
/// gives the type's name.
#[must_use]
pub fn repr(value: &Bound<'_, PyAny>) -> String {
    let text = value.repr();
    let shown = text.as_ref().ok().and_then(|text| text.to_str().ok());
    match shown {
        Some(text) if text.len() <= MAX_QUOTED => text.to_owned(),
        Some(text) => {
            let end = (0..=MAX_QUOTED).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
            format!("{}... ({} bytes)", &text[..end], text.len())
        }
        None => text
            .map_or_else(|_| format!("<{}>", value.get_type()), |text| text.to_string_lossy().into_owned()),
    }
}

/// `text` as Python shows a `str`.
#[must_use]
pub fn quoted(py: Python<'_>, text: &str) -> String {
    repr(PyString::new(py, text).as_any())
}

/// Takes a record of Python's `logging` into the log. `level` is a number of `logging`.
#[pyfunction]
pub fn log_record(py: Python<'_>, level: i32, logger: &str, message: &str) {
    let level = level_of(level);
    crate::bridge::python::detach::detached(py, || logging::emit(level, logger, message));
}

/// The level of a number of `logging`.
fn level_of(number: i32) -> LogLevel {
    match number {
        ..10 => LogLevel::Fine,
        10..20 => LogLevel::Debug,
        20..30 => LogLevel::Info,
        30..40 => LogLevel::Warning,
        40..50 => LogLevel::Error,
        50.. => LogLevel::Critical,
    }
}

/// `logging`'s number of a level.
fn number(level: LogLevel) -> i32 {
    match level {
        LogLevel::Fine => 9,
        LogLevel::Debug => 10,
        LogLevel::Info => 20,
        LogLevel::Warning => 30,
        LogLevel::Error => 40,
        LogLevel::Critical => 50,
    }
}

/// From here on records and warnings of Python code go to the log of the server.
pub fn forward_to_log(config: &LogConfig) -> Result<(), StartError> {
    let levels = (number(config.level), number(config.deflate_level));
    Python::attach(|py| {
        let install = || py.import("wshost._logging")?.call_method1("install", levels).map(drop);
        install().map_err(|error| StartError::Python(PythonError::Refused(error.to_string())))
    })
}

/// Loggers of ours that a program around us may set a level for.
const OUR_LOGGERS: [&str; 3] = [LOG_SERVER, LOG_REQUEST, "wshost"];

/// For a server inside a program with a log of its own: from here on our records are kept for [`hand_over`], those
/// that the levels of Python's `logging` let pass.
pub fn keep_log(py: Python<'_>) -> PyResult<()> {
    let get_logger = py.import("logging")?.getattr("getLogger")?;
    let mut least = i32::MAX;
    for name in OUR_LOGGERS {
        least = least.min(get_logger.call1((name,))?.call_method0("getEffectiveLevel")?.extract()?);
    }
    logging::keep(level_of(least));
    Ok(())
}

/// Gives the records that were kept to Python's `logging`, on this thread, and looks at its levels again.
///
/// An error is what a log handler raised, or a handler of a signal.
pub fn hand_over(py: Python<'_>) -> PyResult<()> {
    while let Some(record) =
        crate::bridge::python::detach::detached(py, || logging::next_kept(LOG_HANDLER_TIME))
    {
        let given = give(py, &record);
        logging::given();
        given?;
    }
    keep_log(py)
}

/// Waits until `logging` has what was kept before this call, so that what a handler logs stands after it. Not for
/// longer than a second, and not for a log handler that takes longer already: it may wait for ever.
pub fn settle(py: Python<'_>) {
    if logging::is_keeping() && !logging::is_settled() {
        crate::bridge::python::detach::detached(py, || logging::settle(LOG_HANDLER_TIME));
    }
}

/// How long others wait for a log handler of the program around us.
const LOG_HANDLER_TIME: Duration = Duration::from_secs(1);

/// The name of the thread that gives records to `logging`.
const GIVER: &str = "wshost-log";

/// A thread that gives records that are kept to Python's `logging`, so that nobody else waits for its handlers. Ends when
/// this is dropped, once it has given everything.
pub struct Giver {
    is_over: Arc<AtomicBool>,
}

impl Giver {
    /// Starts it.
    pub fn start() -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let is_its = Arc::clone(&is_over);
        let run = move || {
            while let Some(record) = logging::wait_for_kept(&is_its) {
                crate::bridge::python::detach::attached(|py| {
                    if let Err(error) = give_named(py, &record) {
                        error.write_unraisable(py, None);
                    }
                });
                // Now, when it needs nothing of Python any more: the process may end.
                logging::given();
            }
        };
        thread::Builder::new().name(GIVER.to_owned()).spawn(run)?;
        Ok(Self { is_over })
    }

    /// Waits, for a second at most, until `logging` has everything. Must be called detached from Python.
    pub fn finish(self) {
        logging::settle(LOG_HANDLER_TIME);
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        logging::wake();
    }
}

/// Gives a record; in it the thread has a name.
fn give_named(py: Python<'_>, record: &KeptRecord) -> PyResult<()> {
    py.import("threading")?.call_method0("current_thread")?.setattr("name", GIVER)?;
    give(py, record)
}

fn give(py: Python<'_>, record: &KeptRecord) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", (&record.logger,))?;
    call(&logger.getattr("log")?, (number(record.level), "%s", &record.message)).map(drop)
}
