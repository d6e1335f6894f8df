//! The end of a connection: a peer that still sends is listened to for a while. A connection that is closed with bytes
//! unread, or that gets bytes later, is reset, and the peer loses what it has not read yet (RFC 6455 section 7.1.1).
//!
//! Must not import pyo3.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::config::{LINGER_BYTES, LINGER_TIME};
use crate::deadline;
use crate::wire::transport::Duplex;

/// How much is taken at once from a peer that goes on sending.
const PIECE: usize = 64 << 10;

/// Ends sending, and listens until the peer closes its side, too; not after `is_cut`, and only within the limits. A peer
/// that `has_closed` (it has sent a close frame) is not waited for, unless it has sent something else.
pub(super) fn end(stream: &Duplex, has_closed: bool, is_cut: &AtomicBool) {
    end_within(LINGER_TIME, stream, has_closed, is_cut);
}

fn end_within(time: Duration, stream: &Duplex, has_closed: bool, is_cut: &AtomicBool) {
    let all_sent = stream.close();
    let mut taste = [MaybeUninit::uninit(); 256];
    match stream.discard(&mut taste) {
        Err(error) if is_nothing(&error) && has_closed && all_sent => {}
        Err(error) if is_nothing(&error) => linger(time, stream, all_sent, is_cut),
        Ok(0) if all_sent => {}
        Ok(_) => linger(time, stream, all_sent, is_cut),
        Err(_) => {}
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// `all_sent`: there is nothing left to be sent.
#[inline(never)]
fn linger(time: Duration, stream: &Duplex, mut all_sent: bool, is_cut: &AtomicBool) {
    let mut waste = Box::new_uninit_slice(PIECE);
    let deadline = deadline::after(time);
    let mut bytes = 0;
    let mut is_at_end = false;
    while !(all_sent && is_at_end) && bytes < LINGER_BYTES && !is_cut.load(Ordering::Relaxed) {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, !is_at_end);
        events.set(PollFlags::OUT, !all_sent);
        if left.is_zero() || !matches!(stream.wait_for(events, Some(left)), Ok(true)) {
            return;
        }
        all_sent = all_sent || stream.close();
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::handover::Transport;

    const NEVER: Duration = Duration::from_hours(1);

    fn pair() -> (Duplex, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Duplex::from(Transport::Unix(ours)), theirs)
    }

    fn not_cut() -> AtomicBool {
        AtomicBool::new(false)
    }

    #[test]
    fn a_peer_that_has_said_that_it_closes_is_not_waited_for() {
        let (ours, mut theirs) = pair();
        end_within(NEVER, &ours, true, &not_cut());
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn one_that_sends_all_the_same_is_listened_to_until_it_closes() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"more").unwrap();
        let ending = thread::spawn(move || end_within(NEVER, &ours, true, &not_cut()));
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        theirs.write_all(&vec![0; 4 << 20]).unwrap();
        assert!(!ending.is_finished());
        theirs.shutdown(Shutdown::Write).unwrap();
        ending.join().unwrap();
    }

    #[test]
    fn a_silent_peer_costs_no_more_than_the_time() {
        let (ours, _theirs) = pair();
        end_within(Duration::from_millis(10), &ours, false, &not_cut());
    }

    #[test]
    fn a_peer_that_sends_without_end_costs_no_more_than_the_bytes() {
        let (ours, mut theirs) = pair();
        let ending = thread::spawn(move || end_within(NEVER, &ours, false, &not_cut()));
        let piece = vec![0; 1 << 20];
        let mut sent: u64 = 0;
        while theirs.write_all(&piece).is_ok() {
            sent += piece.len() as u64;
            assert!(sent < 2 * LINGER_BYTES);
        }
        ending.join().unwrap();
        assert!(sent >= LINGER_BYTES - piece.len() as u64, "{sent}");
    }

    #[test]
    fn a_cut_wakes_it() {
        let (ours, mut theirs) = pair();
        let (ours, is_cut) = (Arc::new(ours), Arc::new(not_cut()));
        let ending = {
            let (ours, is_cut) = (Arc::clone(&ours), Arc::clone(&is_cut));
            thread::spawn(move || end_within(NEVER, &ours, false, &is_cut))
        };
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        is_cut.store(true, Ordering::Relaxed);
        ours.shut();
        ending.join().unwrap();
    }
}
