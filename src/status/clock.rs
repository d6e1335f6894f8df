//! Since when the server runs, and times as numbers.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::per_process::PerProcess;

/// When the server started, on both clocks.
static STARTED: PerProcess<LazyLock<(SystemTime, Instant)>> =
    PerProcess::new(LazyLock::new(now), || LazyLock::new(now));

fn now() -> (SystemTime, Instant) {
    (SystemTime::now(), Instant::now())
}

/// The uptime counts from here.
pub(super) fn start() {
    LazyLock::force(STARTED.get());
}

/// When that was.
pub(super) fn started() -> SystemTime {
    STARTED.get().0
}

/// How long ago that was.
pub(super) fn uptime() -> Duration {
    STARTED.get().1.elapsed()
}

/// Gives this process, a forked child, its own of what each process has one of.
pub(super) fn renew_after_fork() {
    STARTED.renew();
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
