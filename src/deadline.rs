//! Times that people choose, kept small enough to count with.
//!
//! Must not import anything of this crate.

use std::time::{Duration, Instant};

/// More than any process waits: some 31 years. The system's clocks can add it to any of their times.
pub const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// The time that lies `time` ahead, or [`LONGEST`].
#[must_use]
pub fn after(time: Duration) -> Instant {
    Instant::now() + time.min(LONGEST)
}

/// The time that lies `time` after `start`, or [`LONGEST`] after it.
#[must_use]
pub fn from(start: Instant, time: Duration) -> Instant {
    start + time.min(LONGEST)
}

/// So many seconds, if they are 0 or more and no more than [`LONGEST`].
#[must_use]
pub fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok().filter(|time| *time <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_too_long_to_count_with() {
        assert!(after(Duration::MAX) > Instant::now());
        for (number, expected) in [
            (0.0, Some(Duration::ZERO)),
            (0.5, Some(Duration::from_millis(500))),
            (1e9, Some(LONGEST)),
            (1_000_000_001.0, None),
            (1e18, None),
            (1e300, None),
            (f64::INFINITY, None),
            (f64::NAN, None),
            (-1.0, None),
        ] {
            assert_eq!(seconds(number), expected, "{number}");
        }
    }
}
