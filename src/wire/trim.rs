//! Memory that was freed goes back to the system: glibc keeps it, above all what threads that have ended have freed.
//!
//! Must not import pyo3.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::per_process::PerProcess;
use crate::platform;

/// So much must have been freed.
const ENOUGH: u64 = 8 << 20;

/// How long more may be freed before it goes back: it is often wanted again at once, and giving it back takes time.
const DELAY: Duration = Duration::from_secs(1);

/// As little as a thread can have.
const STACK_SIZE: usize = 64 << 10;

pub(crate) static FREED: PerProcess<Freed> = PerProcess::new(Freed::new(), Freed::new);

/// What was freed since memory went back.
pub(crate) struct Freed {
    bytes: AtomicU64,
    /// Whether there is a thread that will give it back.
    is_due: AtomicBool,
}

impl Freed {
    const fn new() -> Self {
        Self { bytes: AtomicU64::new(0), is_due: AtomicBool::new(false) }
    }
}

/// Says that so many bytes were freed, or will be within [`DELAY`]. Never waits.
pub fn freed(bytes: u64) {
    let freed = FREED.get();
    let so_far = freed.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
    if so_far < ENOUGH || freed.is_due.swap(true, Ordering::Relaxed) {
        return;
    }
    let trim = || {
        thread::sleep(DELAY);
        // Whoever frees something from here on sees that it is not due, and counts it at most twice.
        freed.is_due.store(false, Ordering::Release);
        freed.bytes.store(0, Ordering::Relaxed);
        platform::give_back_freed();
    };
    let started = thread::Builder::new().name("wsh-trim".to_owned()).stack_size(STACK_SIZE).spawn(trim);
    if started.is_err() {
        // Whoever frees something next tries again.
        freed.is_due.store(false, Ordering::Relaxed);
    }
}
