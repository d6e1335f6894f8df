//! The local time, without the lock that the C library takes for its time zone: a child that was forked may have a copy
//! of it that is held for ever. Must not import anything of this crate.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use time::{OffsetDateTime, UtcOffset};

/// Zones change their offsets at multiples of a quarter of an hour of UTC.
const QUARTER: i64 = 15 * 60;

/// The offset from UTC in seconds (the lower half), and the quarter of an hour that it was asked for in.
static OFFSET: AtomicI64 = AtomicI64::new(0);
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// A child keeps the offset that its parent has asked for.
pub(super) fn renew_after_fork() {
    IS_CHILD.store(true, Ordering::Relaxed);
}

/// Now, in local time where that is known.
pub(super) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    let quarter = now.unix_timestamp() / QUARTER;
    let known = OFFSET.load(Ordering::Relaxed);
    let is_known = known >> 32 == quarter || (known != 0 && IS_CHILD.load(Ordering::Relaxed));
    let seconds = if is_known { (known & 0xffff_ffff) as i32 } else { ask(now, quarter) };
    now.to_offset(UtcOffset::from_whole_seconds(seconds).unwrap_or(UtcOffset::UTC))
}

fn ask(now: OffsetDateTime, quarter: i64) -> i32 {
    let seconds = UtcOffset::local_offset_at(now).unwrap_or(UtcOffset::UTC).whole_seconds();
    OFFSET.store(quarter << 32 | i64::from(seconds.cast_unsigned()), Ordering::Relaxed);
    seconds
}
