//! The last records of the log, kept for the status page once somebody asked for them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::record::Record;
use crate::per_process::PerProcess;

/// How many records are kept, and how many bytes of one's message.
const LENGTH: usize = 500;
const MESSAGE_LENGTH: usize = 8192;

static IS_KEPT: AtomicBool = AtomicBool::new(false);
static TAIL: PerProcess<Mutex<Tail>> = PerProcess::new(Mutex::new(Tail::new()), || Mutex::new(Tail::new()));

/// Gives this process, a forked child, a tail of its own.
pub(super) fn renew_after_fork() {
    TAIL.renew();
}

struct Tail {
    next: u64,
    records: VecDeque<Kept>,
}

impl Tail {
    const fn new() -> Self {
        Self { next: 0, records: VecDeque::new() }
    }
}

/// A record that was kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its number, from 0.
    pub number: u64,
    /// When it was written, by RFC 3339.
    pub time: String,
    /// The level's name.
    pub level: &'static str,
    /// The logger's name.
    pub logger: String,
    /// The text, cut if it is long.
    pub message: String,
}

/// From now on the last records are kept.
pub fn keep() {
    IS_KEPT.store(true, Ordering::Relaxed);
}

/// The records that are kept from number `from` on, the newest last.
#[must_use]
pub fn tail(from: u64) -> Vec<Kept> {
    TAIL.get().lock().records.iter().filter(|kept| kept.number >= from).cloned().collect()
}

/// Keeps a record that is written.
pub(super) fn add(record: &Record<'_>) {
    if !IS_KEPT.load(Ordering::Relaxed) {
        return;
    }
    let mut tail = TAIL.get().lock();
    if tail.records.len() == LENGTH {
        tail.records.pop_front();
    }
    let number = tail.next;
    tail.next += 1;
    tail.records.push_back(Kept {
        number,
        time: rfc3339(record.time),
        level: record.level.label(),
        logger: record.logger.to_owned(),
        message: cut(record.message),
    });
}

fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

fn cut(message: &str) -> String {
    let mut end = message.len().min(MESSAGE_LENGTH);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let more = if end < message.len() { " …" } else { "" };
    format!("{}{more}", message[..end].trim_end_matches('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        assert_eq!(cut("short\n"), "short");
        let cut = cut(&"é".repeat(MESSAGE_LENGTH));
        assert_eq!(cut.chars().filter(|&c| c == 'é').count(), MESSAGE_LENGTH / 2);
        assert!(cut.ends_with(" …"));
        assert!(super::cut(&format!("a{}", "é".repeat(MESSAGE_LENGTH))).ends_with("é …"));
    }
}
