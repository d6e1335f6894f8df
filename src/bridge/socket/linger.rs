//! The end of a connection: a peer that still sends is listened to for a while. A connection that is closed with bytes
//! unread, or that gets bytes later, is reset, and the peer loses what it has not read yet (RFC 6455 section 7.1.1).
//!
//! Must not import pyo3.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::PollFlags;

use crate::bridge::transport::Duplex;
use crate::config::{LINGER_BYTES, LINGER_TIME};

/// How much is taken at once from a peer that goes on sending.
const PIECE: usize = 64 << 10;

/// Ends sending, and listens until the peer closes its side, too; not after `is_cut`, and only within the limits. A peer
/// that `has_closed` (it has sent a close frame) is not waited for, unless it has sent something else.
pub(super) fn end(stream: &Duplex, has_closed: bool, is_cut: &AtomicBool) {
    let is_out = stream.close();
    let mut taste = [MaybeUninit::uninit(); 256];
    match stream.discard(&mut taste) {
        Err(error) if is_nothing(&error) && has_closed && is_out => {}
        Err(error) if is_nothing(&error) => linger(stream, is_out, is_cut),
        Ok(0) if is_out => {}
        Ok(_) => linger(stream, is_out, is_cut),
        Err(_) => {}
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// `is_out`: there is nothing left to be sent.
#[inline(never)]
fn linger(stream: &Duplex, mut is_out: bool, is_cut: &AtomicBool) {
    let mut waste = Box::new_uninit_slice(PIECE);
    let deadline = Instant::now() + LINGER_TIME;
    let mut bytes = 0;
    let mut is_at_end = false;
    while !(is_out && is_at_end) && bytes < LINGER_BYTES && !is_cut.load(Ordering::Relaxed) {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, !is_at_end);
        events.set(PollFlags::OUT, !is_out);
        if left.is_zero() || !matches!(stream.wait_for(events, Some(left)), Ok(true)) {
            return;
        }
        is_out = is_out || stream.close();
        if !is_at_end {
            match stream.discard(&mut waste) {
                Ok(0) => is_at_end = true,
                Ok(count) => bytes += count as u64,
                Err(error) if is_nothing(&error) => {}
                Err(_) => return,
            }
        }
    }
}
