//! What the peers of a server may make it hold.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use crate::config::{DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_MAX_TOTAL_MESSAGE_SIZE};
use crate::per_process::{Inherited, Process};
use crate::wire::trim;

/// Smaller messages are not counted, so that they cost nothing; what they take is bounded by the threads there are.
const SMALL: u64 = 64 << 10;

/// What holds for connections that no server has, if a program has said so.
static FOR_OTHERS: OnceLock<Arc<Limits>> = OnceLock::new();

/// What holds for them otherwise.
pub(crate) static DEFAULT: LazyLock<Arc<Limits>> =
    LazyLock::new(|| Limits::new(DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_MAX_TOTAL_MESSAGE_SIZE));

/// The limits of a server, and what its connections have of them.
pub struct Limits {
    max_message_size: u64,
    max_total_message_size: u64,
    /// What all [`Share`]s have. A forked child begins with none: the connections are its parent's.
    held: Inherited<AtomicU64>,
}

impl Limits {
    /// The largest message in bytes, after inflating (`--max-message-size`), and how many bytes all messages that are being
    /// received may have together (`--max-total-message-size`).
    #[must_use]
    pub fn new(max_message_size: u64, max_total_message_size: u64) -> Arc<Self> {
        Arc::new(Self { max_message_size, max_total_message_size, held: Inherited::new(AtomicU64::default) })
    }

    /// Those of connections that no server has, such as those that handlers make themselves.
    #[must_use]
    pub fn for_others() -> &'static Arc<Self> {
        FOR_OTHERS.get().unwrap_or_else(|| &DEFAULT)
    }

    /// Makes these the ones of connections that no server has, unless others are. Before handlers run.
    pub fn hold_for_others(self: &Arc<Self>) {
        // Set already: there is one program in a process.
        let _ = FOR_OTHERS.set(Arc::clone(self));
    }

    /// The largest message in bytes, after inflating.
    #[must_use]
    pub fn max_message_size(&self) -> u64 {
        self.max_message_size
    }
}

/// All messages that are being received would have more bytes together than they may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TotalExceeded {
    /// How many they may have.
    pub limit: u64,
}

/// What one message that is being received has of its server's [`Limits`]; dropping it gives that back.
#[derive(Default)]
pub struct Share {
    bytes: u64,
    /// Where they are counted, and in which process; `None`: they are not.
    counted: Option<(Arc<Limits>, Process)>,
}

impl Share {
    /// Counts a message that has so many bytes now. An error gives back what it had: the message is not to be finished, and
    /// others that grow at the same moment are.
    pub fn grow_to(&mut self, bytes: u64, limits: &Arc<Limits>) -> Result<(), TotalExceeded> {
        if bytes <= SMALL.max(self.bytes) {
            return Ok(());
        }
        let is_counted =
            |(own, process): &(Arc<Limits>, Process)| Arc::ptr_eq(own, limits) && process.is_this();
        if !self.counted.as_ref().is_some_and(is_counted) {
            *self = Self { bytes: 0, counted: Some((Arc::clone(limits), Process::this())) };
        }
        let more = bytes - self.bytes;
        let limit = limits.max_total_message_size;
        let sum = |held: u64| held.checked_add(more).filter(|sum| *sum <= limit);
        if limits.held.get().fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_err() {
            *self = Self::default();
            return Err(TotalExceeded { limit });
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some((limits, process)) = &self.counted {
            if process.is_this() {
                limits.held.get().fetch_sub(self.bytes, Ordering::Relaxed);
            }
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
        let limits = &Limits::new(u64::MAX, 1 << 20);
        let exceeded = Err(TotalExceeded { limit: 1 << 20 });
        let held = || limits.held.get().load(Ordering::Relaxed);
        let mut small = Share::default();
        assert_eq!((small.grow_to(SMALL, limits), held()), (Ok(()), 0));
        let mut first = Share::default();
        assert_eq!((first.grow_to(SMALL + 1, limits), held()), (Ok(()), SMALL + 1));
        assert_eq!((first.grow_to(1, limits), held()), (Ok(()), SMALL + 1));
        assert_eq!((first.grow_to(1 << 20, limits), held()), (Ok(()), 1 << 20));
        let mut second = Share::default();
        assert_eq!((second.grow_to(SMALL + 1, limits), held()), (exceeded, 1 << 20));
        // What is refused makes room for others at once.
        assert_eq!((first.grow_to((1 << 20) + 1, limits), held()), (exceeded, 0));
        assert_eq!((second.grow_to(u64::MAX, limits), held()), (exceeded, 0));
        assert_eq!((first.grow_to(SMALL + 1, limits), held()), (Ok(()), SMALL + 1));
        drop(first);
        assert_eq!((second.grow_to(1 << 20, limits), held()), (Ok(()), 1 << 20));
        drop((small, second));
        assert_eq!(held(), 0);
    }

    #[test]
    fn servers_do_not_take_room_from_each_other() {
        let (one, other) = (&Limits::new(u64::MAX, 1 << 20), &Limits::new(u64::MAX, 1 << 20));
        let (mut first, mut second) = (Share::default(), Share::default());
        assert_eq!(first.grow_to(1 << 20, one), Ok(()));
        assert_eq!(second.grow_to(1 << 20, other), Ok(()));
        assert_eq!(second.grow_to((1 << 20) + 1, other), Err(TotalExceeded { limit: 1 << 20 }));
        assert_eq!(one.held.get().load(Ordering::Relaxed), 1 << 20);
    }
}
