//! The forms of option values, and what to say when one is wrong. Must not import anything but `config` and
//! `deadline`.

use std::num::IntErrorKind;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::config::{LogFormat, LogLevel};
use crate::deadline::{self, LONGEST};

/// A whole number as Python's `int()` reads it: space around it, a sign, underscores between digits.
pub(super) fn integer(text: &str) -> Result<i64, &'static str> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.split('_').any(|part| part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("must be a whole number");
    }
    text.replace('_', "").parse().map_err(|_| "this number is too large")
}

/// A TCP port. pywebsocket takes any number and fails when it binds.
pub(super) fn port(text: &str) -> Result<u16, &'static str> {
    integer(text)
        .ok()
        .and_then(|number| u16::try_from(number).ok())
        .ok_or("a port is a number from 0 to 65535; 0 takes a free one")
}

/// A port to compare with. pywebsocket takes any number, and then lets in no request that names a port.
pub(super) fn port_in_target(text: &str) -> Result<u16, &'static str> {
    port(text).map_err(|_| "a port is a number from 0 to 65535")
}

/// A file descriptor that somebody has passed to us. The first three belong to whoever prints something.
pub(super) fn descriptor(text: &str) -> Result<i32, &'static str> {
    let number = integer(text).ok().and_then(|number| i32::try_from(number).ok());
    match number.ok_or("must be the number of an open file descriptor, such as 3")? {
        ..0 => Err("must be the number of an open file descriptor, such as 3"),
        0..3 => Err("0, 1 and 2 are standard input, output and error; pass another descriptor, such as 3"),
        number => Ok(number),
    }
}

/// The length of the accept queue.
pub(super) fn backlog(text: &str) -> Result<i32, &'static str> {
    integer(text)
        .ok()
        .and_then(|number| i32::try_from(number).ok())
        .ok_or("must be a whole number, such as 128")
}

/// One of pywebsocket's log levels.
pub(super) fn log_level() -> impl TypedValueParser<Value = LogLevel> {
    level_of(&LogLevel::NAMES)
}

/// One of pywebsocket's log levels for the deflate loggers, which have no `fine`.
pub(super) fn deflate_log_level() -> impl TypedValueParser<Value = LogLevel> {
    level_of(&LogLevel::NAMES[1..])
}

fn level_of(names: &'static [&'static str]) -> impl TypedValueParser<Value = LogLevel> {
    PossibleValuesParser::new(names).try_map(|name| LogLevel::from_name(&name).ok_or("no such level"))
}

/// `text` or `json`.
pub(super) fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["text", "json"]).map(|name| match name.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    })
}

/// `HOST:PORT`; an IPv6 address stands in brackets.
pub(super) fn status_address(text: &str) -> Result<(String, u16), &'static str> {
    let wrong = "must be HOST:PORT, such as 127.0.0.1:9999";
    let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or(wrong)?,
        None if host.contains(':') => return Err(wrong),
        None => host,
    };
    if host.is_empty() {
        return Err(wrong);
    }
    Ok((host.to_owned(), port.parse().map_err(|_| wrong)?))
}

/// A token that can stand in a URL and in a cookie as it is.
pub(super) fn token(text: &str) -> Result<String, &'static str> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if text.len() >= 16 && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("must be 16 or more letters, digits, \"-\" and \"_\"")
    }
}

/// How many bytes there may be of something.
pub(super) fn size(text: &str) -> Result<u64, &'static str> {
    let wrong = "must be a whole number of bytes, 1 or more, such as 1048576";
    match text.trim().parse() {
        Ok(0) => Err(wrong),
        Ok(size) => Ok(size),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => {
            Err("must be 18446744073709551615 bytes at most, which is no limit")
        }
        Err(_) => Err(wrong),
    }
}

/// The number of something, counted from 1.
pub(super) fn ordinal(text: &str) -> Result<u32, &'static str> {
    text.trim().parse().ok().filter(|number| *number > 0).ok_or("must be a whole number from 1 to 4294967295")
}

/// The resource of a handler that is to be written: the names of files are made of it.
pub(super) fn resource(text: &str) -> Result<String, &'static str> {
    let resource = text.trim_matches('/');
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if [".py", "_wsh"].iter().any(|end| resource.ends_with(end)) {
        Err("must be the resource, without \"_wsh.py\": room/chat is served by handlers/room/chat_wsh.py")
    } else if resource.split('/').all(is_part) {
        Ok(resource.to_owned())
    } else {
        Err(
            "must be the name of a resource, such as chat or room/chat: letters, digits, \"-\", \"_\" and \".\", \
             which begins no part",
        )
    }
}

/// Whole milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<Duration, &'static str> {
    let time = text.parse().map(Duration::from_millis);
    let time = time.map_err(|_| "must be a number of milliseconds, such as 5")?;
    if time <= LONGEST { Ok(time) } else { Err("must be 1000000000000 milliseconds at most") }
}

/// Seconds, with a fraction if need be.
pub(super) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let wrong = "must be a number of seconds, such as 5 or 0.5";
    let number: f64 = text.parse().map_err(|_| wrong)?;
    match deadline::seconds(number) {
        None if number > 0.0 => Err("must be 1000000000 seconds at most, some 31 years"),
        time => time.ok_or(wrong),
    }
}

/// Seconds, more than none.
pub(super) fn positive_seconds(text: &str) -> Result<Duration, &'static str> {
    match seconds(text)? {
        Duration::ZERO => Err("must be more than 0 seconds"),
        time => Ok(time),
    }
}

/// More sockets than systemd passes to anybody.
const MOST_FDS: i32 = 4096;

/// The file descriptors of the sockets that systemd passes to this process (`sd_listen_fds(3)`).
pub(super) fn systemd_fds() -> Vec<i32> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    fds_passed_to(std::process::id(), number("LISTEN_PID"), number("LISTEN_FDS"))
}

/// `sd_listen_fds(3)`: as many as `LISTEN_FDS` says, from 3 on, if `LISTEN_PID` is this process and not the one
/// that started it.
fn fds_passed_to(this: u32, pid: Option<u32>, count: Option<u32>) -> Vec<i32> {
    const FIRST: i32 = 3;
    let count = count.filter(|_| pid == Some(this)).and_then(|count| i32::try_from(count).ok()).unwrap_or(0);
    // Of more, one is none, which stops the start.
    (FIRST..FIRST + count.min(MOST_FDS)).collect()
}

#[cfg(test)]
mod tests {
    use super::{MOST_FDS, fds_passed_to, resource};

    #[test]
    fn resources_become_names_of_files() {
        for (text, expected) in [
            ("chat", Some("chat")),
            ("/room/chat/", Some("room/chat")),
            ("v1.0/a-b_c", Some("v1.0/a-b_c")),
            ("", None),
            ("/", None),
            ("a//b", None),
            (".", None),
            ("../a", None),
            ("a/.b", None),
            ("a b", None),
            ("é", None),
            ("chat_wsh", None),
            ("chat_wsh.py", None),
            ("chat.py", None),
        ] {
            assert_eq!(resource(text).ok().as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn systemd_passes_sockets_to_one_process() {
        for (pid, count, expected) in [
            (None, None, vec![]),
            (None, Some(1), vec![]),
            (Some(7), None, vec![]),
            (Some(8), Some(1), vec![]),
            (Some(7), Some(0), vec![]),
            (Some(7), Some(1), vec![3]),
            (Some(7), Some(2), vec![3, 4]),
            (Some(7), Some(i32::MAX.unsigned_abs()), (3..3 + MOST_FDS).collect()),
        ] {
            assert_eq!(fds_passed_to(7, pid, count), expected, "{pid:?} {count:?}");
        }
    }
}
