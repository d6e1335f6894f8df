//! Limits that hold for the whole process, foreign connections included.

use std::sync::atomic::{AtomicU64, Ordering};

/// 256 MiB.
static MAX_MESSAGE_SIZE: AtomicU64 = AtomicU64::new(256 << 20);

/// Largest message in bytes, after inflating.
pub fn max_message_size() -> u64 {
    MAX_MESSAGE_SIZE.load(Ordering::Relaxed)
}

/// Sets the largest message (`--max-message-size`).
pub fn set_max_message_size(bytes: u64) {
    MAX_MESSAGE_SIZE.store(bytes, Ordering::Relaxed);
}
