//! Limits that hold for the whole process, foreign connections included.

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::{DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_MAX_TOTAL_MESSAGE_SIZE};
use crate::per_process::PerProcess;
use crate::wire::trim;

static MAX_MESSAGE_SIZE: AtomicU64 = AtomicU64::new(DEFAULT_MAX_MESSAGE_SIZE);

static MAX_TOTAL_MESSAGE_SIZE: AtomicU64 = AtomicU64::new(DEFAULT_MAX_TOTAL_MESSAGE_SIZE);

/// What all [`Share`]s have. A forked child begins with none: the connections are its parent's.
pub(crate) static HELD: PerProcess<AtomicU64> = PerProcess::new(AtomicU64::new(0), || AtomicU64::new(0));

/// Smaller messages are not counted, so that they cost nothing; what they take is bounded by the threads there are.
const SMALL: u64 = 64 << 10;

/// Largest message in bytes, after inflating.
pub fn max_message_size() -> u64 {
    MAX_MESSAGE_SIZE.load(Ordering::Relaxed)
}

/// Sets the largest message (`--max-message-size`).
pub fn set_max_message_size(bytes: u64) {
    MAX_MESSAGE_SIZE.store(bytes, Ordering::Relaxed);
}

/// How many bytes all messages that are being received may have together.
pub fn max_total_message_size() -> u64 {
    MAX_TOTAL_MESSAGE_SIZE.load(Ordering::Relaxed)
}

/// Sets how many bytes all messages that are being received may have together (`--max-total-message-size`).
pub fn set_max_total_message_size(bytes: u64) {
    MAX_TOTAL_MESSAGE_SIZE.store(bytes, Ordering::Relaxed);
}

/// All messages that are being received would have more bytes together than they may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TotalExceeded;

/// What one message that is being received has of [`max_total_message_size`]; dropping it gives that back.
#[derive(Debug, Default)]
pub struct Share {
    bytes: u64,
    /// Where they are counted; `None`: they are not.
    counter: Option<&'static AtomicU64>,
}

impl Share {
    /// Counts a message that has so many bytes now. An error gives back what it had: the message is not to be finished, and
    /// others that grow at the same moment are.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), TotalExceeded> {
        if bytes <= SMALL.max(self.bytes) {
            return Ok(());
        }
        let counter = HELD.get();
        if !self.counter.is_some_and(|own| ptr::eq(own, counter)) {
            *self = Self { bytes: 0, counter: Some(counter) };
        }
        let more = bytes - self.bytes;
        let limit = max_total_message_size();
        let sum = |held: u64| held.checked_add(more).filter(|sum| *sum <= limit);
        if counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_err() {
            *self = Self::default();
            return Err(TotalExceeded);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(counter) = self.counter {
            counter.fetch_sub(self.bytes, Ordering::Relaxed);
            trim::freed(self.bytes);
        }
    }
}

/// How large the messages are that a handler has got. The last one is likely to be freed when the handler asks for the next
/// one; at the end all are.
#[derive(Debug, Default)]
pub struct Lent {
    last: AtomicU64,
    all: AtomicU64,
}

impl Lent {
    /// The handler gets a message.
    pub fn lend(&self, share: &Share) {
        // Most are small.
        if share.bytes > 0 {
            self.last.store(share.bytes, Ordering::Relaxed);
            self.all.fetch_add(share.bytes, Ordering::Relaxed);
        }
    }

    /// The handler wants the next one.
    pub fn is_back(&self) {
        if self.last.load(Ordering::Relaxed) > 0 {
            trim::freed(self.last.swap(0, Ordering::Relaxed));
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        trim::freed(*self.all.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_given_back() {
        // No other test of this process receives anything.
        let held = || HELD.get().load(Ordering::Relaxed);
        let mut small = Share::default();
        assert_eq!((small.grow_to(SMALL), held()), (Ok(()), 0));
        let mut first = Share::default();
        assert_eq!((first.grow_to(SMALL + 1), held()), (Ok(()), SMALL + 1));
        assert_eq!((first.grow_to(1), held()), (Ok(()), SMALL + 1));
        set_max_total_message_size(1 << 20);
        assert_eq!((first.grow_to(1 << 20), held()), (Ok(()), 1 << 20));
        let mut second = Share::default();
        assert_eq!((second.grow_to(SMALL + 1), held()), (Err(TotalExceeded), 1 << 20));
        // What is refused makes room for others at once.
        assert_eq!((first.grow_to((1 << 20) + 1), held()), (Err(TotalExceeded), 0));
        assert_eq!((second.grow_to(u64::MAX), held()), (Err(TotalExceeded), 0));
        assert_eq!((first.grow_to(SMALL + 1), held()), (Ok(()), SMALL + 1));
        drop(first);
        assert_eq!((second.grow_to(1 << 20), held()), (Ok(()), 1 << 20));
        drop((small, second));
        assert_eq!(held(), 0);
        set_max_total_message_size(DEFAULT_MAX_TOTAL_MESSAGE_SIZE);
    }
}
