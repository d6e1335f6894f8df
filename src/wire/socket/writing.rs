//! Writing to a connection's socket. The bytes of one call stay together.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use crate::websocket::frame::opcode;
use crate::wire::socket::Socket;

/// What [`Socket::write_now`] did not write as a whole.
pub struct Unwritten<'a> {
    socket: &'a Socket,
    /// The turn to write, unless another thread has it.
    turn: Option<MutexGuard<'a, ()>>,
    written: usize,
}

impl Unwritten<'_> {
    /// Writes the rest. Waits for the peer, and before that for the threads that write.
    pub fn finish(self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let _turn = self.turn.unwrap_or_else(|| self.socket.writing.lock());
        self.socket.write_from(self.written, head, body)
    }
}

impl Socket {
    /// Writes a frame as [`Self::write`] does; data frames with the FIN bit count as messages.
    pub fn write_frame(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.announce_write(head);
        self.write(head, body)?;
        self.count_written(head);
        Ok(())
    }

    /// Writes as much of `head` and `body` as goes out without waiting; may be called attached to Python. `None`: all of
    /// it did; otherwise [`Unwritten::finish`] writes the rest. When there is `more` to come, it may go out with that.
    pub fn write_now(
        self: &Arc<Self>,
        head: &[u8],
        body: &[u8],
        more: bool,
    ) -> io::Result<Option<Unwritten<'_>>> {
        let stream = self.open()?;
        let Some(turn) = self.writing.try_lock() else {
            return Ok(Some(Unwritten { socket: self, turn: None, written: 0 }));
        };
        let size = head.len() + body.len();
        let written = match stream.write_now(&[IoSlice::new(head), IoSlice::new(body)], more) {
            Ok(written) => written,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error),
        };
        if written < size {
            return Ok(Some(Unwritten { socket: self, turn: Some(turn), written }));
        }
        self.counters.sent(size as u64);
        self.set_corked(more);
        Ok(None)
    }

    /// Tells the heartbeat of a frame that is about to go out: a thread that asks the peer looks when nobody is writing.
    pub fn announce_write(&self, head: &[u8]) {
        if let Some(heartbeat) = &self.heartbeat
            && head.first().is_some_and(|first| first & 0x0f == opcode::CLOSE)
        {
            heartbeat.closing();
        }
    }

    /// Counts a frame that went out.
    pub fn count_written(&self, head: &[u8]) {
        if carries_data(head) && head[0] & 0x80 != 0 {
            self.counters.message_sent();
        }
    }

    /// Writes `head` and `body` as one piece: no other thread's bytes come between.
    pub fn write(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let _turn = self.writing.lock();
        self.write_from(0, head, body)
    }

    /// Writes what is after the first `written` bytes. The caller has its turn to write.
    fn write_from(&self, written: usize, head: &[u8], body: &[u8]) -> io::Result<()> {
        let stream = self.open()?;
        let _waiting = self.counters.writing();
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut rest = &mut parts[..];
        IoSlice::advance_slices(&mut rest, written);
        while !rest.is_empty() {
            match stream.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut rest, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.counters.sent((head.len() + body.len()) as u64);
        self.corked.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Sends a close frame without waiting for the peer. `false`: another thread is writing; later it may work.
    pub fn send_close_now(&self, frame: &[u8]) -> bool {
        let Ok(stream) = self.open() else { return true };
        let Some(_turn) = self.writing.try_lock() else { return false };
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.closing();
        }
        stream.send_now(frame);
        true
    }
}

/// Whether a frame that begins so is a data frame.
pub(crate) fn carries_data(head: &[u8]) -> bool {
    head.first().is_some_and(|first| !opcode::is_control(first & 0x0f))
}
