//! The forms of option values, and what to say when one is wrong. Must not import anything but `config`.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::config::LogLevel;

/// A TCP port. pywebsocket takes any number and fails when it binds.
pub(super) fn port(text: &str) -> Result<u16, &'static str> {
    // pywebsocket: Python's int() allows space around a number.
    text.trim().parse().map_err(|_| "a port is a number from 0 to 65535; 0 takes a free one")
}

/// The length of the accept queue. pywebsocket: Python's `listen` takes a negative one for 0.
pub(super) fn backlog(text: &str) -> Result<i32, &'static str> {
    text.trim().parse::<i32>().map(|count| count.max(0)).map_err(|_| "must be a whole number, such as 128")
}

/// One of pywebsocket's log levels.
pub(super) fn log_level() -> impl TypedValueParser<Value = LogLevel> {
    PossibleValuesParser::new(LogLevel::NAMES)
        .try_map(|name| LogLevel::from_name(&name).ok_or("no such level"))
}

/// Whole milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<Duration, &'static str> {
    text.parse().map(Duration::from_millis).map_err(|_| "must be a number of milliseconds, such as 5")
}

/// Seconds, with a fraction if need be.
pub(super) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let wrong = "must be a number of seconds, such as 5 or 0.5";
    let seconds: f64 = text.parse().map_err(|_| wrong)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong)
}

/// Seconds, more than none.
pub(super) fn positive_seconds(text: &str) -> Result<Duration, &'static str> {
    match seconds(text)? {
        Duration::ZERO => Err("must be more than 0 seconds"),
        time => Ok(time),
    }
}
