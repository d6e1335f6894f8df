//! Reading from a connection's socket: frames, and bytes as they are.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::MutexGuard;

use crate::locks::Turn;
use crate::logging::LOG_REQUEST;
use crate::threads::stack;
use crate::websocket::frame::{FrameHeader, HeaderStep, missing_in_field, opcode};
use crate::websocket::mask::apply_mask;
use crate::websocket::memory;
use crate::websocket::reader::{FrameReader, FrameRefusal};
use crate::wire::heartbeat::{Heartbeat, is_pong, may_be_pong};
use crate::wire::limits::Share;
use crate::wire::socket::open_frame::OpenFrame;
use crate::wire::socket::received::{FrameReadError, RawFrame};
use crate::wire::socket::{READ_AHEAD, READ_PATIENCE, Socket};
use crate::wire::transport::Duplex;

/// The most that one raw read returns, however much is asked for.
const RAW_READ: usize = 1 << 20;

impl Socket {
    /// One raw read of at most `max` bytes; empty at the end of the stream.
    pub fn read_some(&self, max: usize) -> io::Result<Vec<u8>> {
        let stream = self.open()?;
        if max == 0 {
            return Ok(Vec::new());
        }
        let max = max.min(RAW_READ);
        let mut unread = self.unread.lock();
        if !unread.is_empty() {
            let taken = max.min(unread.len());
            self.counters.received(taken as u64);
            return Ok(unread.split_to(taken).to_vec());
        }
        self.uncork(&stream);
        let mut buffer = memory::zeroed(max).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let _waiting = self.counters.reading();
        let count = read_retrying(&stream, &mut buffer)?;
        self.counters.received(count as u64);
        buffer.truncate(count);
        Ok(buffer)
    }

    /// Exactly `length` bytes, or the error with what was still wanted.
    pub fn read_exactly(&self, length: u64) -> Result<Vec<u8>, FrameReadError> {
        let stream = self.open().map_err(|source| FrameReadError::Io { wanted: length, source })?;
        self.uncork(&stream);
        let _waiting = self.counters.reading();
        let data = read_bytes(&stream, &mut self.unread.lock(), length)?;
        self.counters.received(length);
        Ok(data)
    }

    /// One read of a frame of which `wanted` bytes are missing. `None`: nothing came within [`READ_PATIENCE`].
    fn read_once(
        &self,
        wanted: u64,
        mut read: impl FnMut() -> io::Result<usize>,
    ) -> Result<Option<usize>, FrameReadError> {
        loop {
            match read() {
                Ok(0) => return Err(FrameReadError::Eof { wanted }),
                Ok(count) => {
                    if let Some(heartbeat) = &self.heartbeat {
                        heartbeat.heard();
                    }
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(source) => return Err(FrameReadError::Io { wanted, source }),
            }
        }
    }

    /// The same for as long as it takes.
    pub(super) fn read_alive(
        &self,
        stream: &Duplex,
        wanted: u64,
        mut read: impl FnMut() -> io::Result<usize>,
    ) -> Result<usize, FrameReadError> {
        loop {
            match self.read_once(wanted, &mut read)? {
                Some(count) => return Ok(count),
                None => self.wait_for_more(stream, wanted)?,
            }
        }
    }

    /// Reads at least one byte of a frame into `buffer`; the error of an end of the stream says that `wanted` were
    /// missing.
    pub(super) fn read_something(
        &self,
        stream: &Duplex,
        buffer: &mut [u8],
        wanted: u64,
    ) -> Result<usize, FrameReadError> {
        self.read_alive(stream, wanted, || stream.read(buffer))
    }

    /// Waits until there is something to read, after a read that found nothing. A peer that stays silent is asked
    /// whether it is there, if that is wanted.
    fn wait_for_more(&self, stream: &Duplex, wanted: u64) -> Result<(), FrameReadError> {
        self.wait_or_ask(stream).map_err(|source| FrameReadError::Io { wanted, source })
    }

    fn wait_or_ask(&self, stream: &Duplex) -> io::Result<()> {
        match &self.heartbeat {
            None => stream.wait_readable(None).map(drop),
            Some(heartbeat) => self.wait_and_ask(stream, heartbeat),
        }
    }

    #[inline(never)]
    fn wait_and_ask(&self, stream: &Duplex, heartbeat: &Heartbeat) -> io::Result<()> {
        let mut waited = READ_PATIENCE;
        while !stream.wait_readable(Some(heartbeat.patience().saturating_sub(waited)))? {
            waited = Duration::ZERO;
            let asked = heartbeat.silent(|ping| match self.writing.try_lock() {
                Some(_turn) if heartbeat.is_closing() => Ok(true),
                Some(_turn) => stream.send_whole_now(ping),
                // A thread that is writing will find out itself.
                None => Ok(false),
            });
            asked.inspect_err(|error| {
                tracing::info!(target: LOG_REQUEST, "{}: gone without a word: {error}", self.peer);
            })?;
        }
        Ok(())
    }

    /// Waits for the next frame after a [`begin_frame`](Self::begin_frame) that found none, with as little memory as
    /// it takes: the thread gives back what its stack has below the caller.
    pub fn rest(&self) -> Result<(), FrameReadError> {
        let stream = self.open().map_err(|source| FrameReadError::Io { wanted: 1, source })?;
        let _waiting = self.counters.reading();
        stack::release_unused();
        self.wait_for_more(&stream, 1)
    }

    /// Begins to read a frame: waits for its header, and takes as much of the payload as came with it into
    /// `buffer`. Of a frame that `reader` refuses, as much of the header is taken as it took to see that, as in the
    /// reference. The answers to our own pings are nobody's business. `None`: nothing came within [`READ_PATIENCE`].
    pub fn begin_frame(
        &self,
        reader: FrameReader,
        buffer: &mut [u8; READ_AHEAD],
    ) -> Result<Option<OpenFrame<'_>>, FrameReadError> {
        loop {
            let Some(mut frame) = self.begin_any_frame(reader, buffer)? else { return Ok(None) };
            if self.heartbeat.is_none() || !may_be_pong(&frame.header) {
                return Ok(Some(frame));
            }
            frame.hold_all(buffer)?;
            let mut body = buffer[..frame.held].to_vec();
            if let Some(key) = frame.header.mask {
                apply_mask(&mut body, key, 0);
            }
            if !is_pong(&body) {
                return Ok(Some(frame));
            }
        }
    }

    fn begin_any_frame(
        &self,
        reader: FrameReader,
        buffer: &mut [u8; READ_AHEAD],
    ) -> Result<Option<OpenFrame<'_>>, FrameReadError> {
        let stream = self.open().map_err(|source| FrameReadError::Io { wanted: 1, source })?;
        self.counters.message_wanted();
        let _waiting = self.counters.reading();
        self.uncork(&stream);
        let mut unread = self.unread.lock();
        self.pass_over_refused(&stream, &mut unread, buffer)?;
        if unread.is_empty() {
            // Nothing is kept for a connection that only waits.
            *unread = BytesMut::new();
            let Some(count) = self.read_once(1, || stream.read(buffer))? else { return Ok(None) };
            let read = &buffer[..count];
            if let Ok(HeaderStep::Done { header, length }) = reader.read(read) {
                let held = header.payload_length.min((count - length) as u64);
                let end = length + usize::try_from(held).unwrap_or(0);
                unread.extend_from_slice(&read[end..]);
                buffer.copy_within(length..end, 0);
                self.count(&header, length);
                let held = end - length;
                return Ok(Some(OpenFrame {
                    header,
                    held,
                    done: 0,
                    share: Share::default(),
                    socket: self,
                    stream,
                    unread,
                    _turn: Turn::begin(),
                }));
            }
            unread.extend_from_slice(read);
        }
        let (header, header_length) = loop {
            match reader.read(&unread).inspect_err(|refusal| self.pass_over(&mut unread, refusal))? {
                HeaderStep::Done { header, length } => {
                    unread.advance(length);
                    break (header, length);
                }
                HeaderStep::Need(total) => {
                    let wanted = missing_in_field(&unread, total) as u64;
                    let count = self.read_something(&stream, buffer, wanted)?;
                    unread.extend_from_slice(&buffer[..count]);
                }
            }
        };
        self.count(&header, header_length);
        Ok(Some(self.frame_of_unread(header, stream, unread, buffer)))
    }

    /// Takes what is not wanted of a frame that is refused off the front of `unread`.
    fn pass_over(&self, unread: &mut BytesMut, refusal: &FrameRefusal) {
        unread.advance(refusal.bytes_taken());
        if let FrameRefusal::TooLarge { payload_length, .. } = refusal {
            self.refused.store(*payload_length, Ordering::Relaxed);
        }
    }

    /// Reads what is left of a frame that was refused, and forgets it.
    fn pass_over_refused(
        &self,
        stream: &Duplex,
        unread: &mut BytesMut,
        buffer: &mut [u8; READ_AHEAD],
    ) -> Result<(), FrameReadError> {
        let mut refused = self.refused.load(Ordering::Relaxed);
        while refused > 0 {
            if unread.is_empty() {
                let count = self.read_something(stream, buffer, 2)?;
                unread.extend_from_slice(&buffer[..count]);
            }
            let passed = unread.len().min(usize::try_from(refused).unwrap_or(usize::MAX));
            unread.advance(passed);
            refused -= passed as u64;
            self.refused.store(refused, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The frame whose payload starts at the front of `unread`.
    fn frame_of_unread<'a>(
        &'a self,
        header: FrameHeader,
        stream: Arc<Duplex>,
        mut unread: MutexGuard<'a, BytesMut>,
        buffer: &mut [u8; READ_AHEAD],
    ) -> OpenFrame<'a> {
        let wanted = usize::try_from(header.payload_length).unwrap_or(usize::MAX);
        let held = wanted.min(unread.len()).min(buffer.len());
        buffer[..held].copy_from_slice(&unread[..held]);
        unread.advance(held);
        let share = Share::default();
        OpenFrame { header, held, done: 0, share, socket: self, stream, unread, _turn: Turn::begin() }
    }

    /// What [`begin_frame`](Self::begin_frame) gives, if a whole frame that nobody refuses is here already. Never
    /// waits, so it may be called attached to Python.
    pub fn buffered_frame(
        &self,
        reader: FrameReader,
        buffer: &mut [u8; READ_AHEAD],
    ) -> Option<OpenFrame<'_>> {
        let mut unread = self.unread.try_lock()?;
        if self.refused.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let Ok(HeaderStep::Done { header, length }) = reader.read(&unread) else { return None };
        let size = usize::try_from(header.payload_length).ok()?;
        let fits = size <= buffer.len() && size <= unread.len() - length;
        let may_be_ours = self.heartbeat.is_some() && may_be_pong(&header);
        if !fits || may_be_ours {
            return None;
        }
        let stream = self.open().ok()?;
        unread.advance(length);
        self.count(&header, length);
        Some(self.frame_of_unread(header, stream, unread, buffer))
    }

    /// One frame, as [`begin_frame`](Self::begin_frame) reads it, for as long as it takes.
    pub fn read_frame(&self, reader: FrameReader) -> Result<RawFrame, FrameReadError> {
        let mut buffer = [0; READ_AHEAD];
        loop {
            if let Some(frame) = self.begin_frame(reader, &mut buffer)? {
                return frame.into_raw(&buffer, None);
            }
            self.rest()?;
        }
    }

    /// Counts a frame that begins to be read.
    fn count(&self, header: &FrameHeader, header_length: usize) {
        self.counters.received(header_length as u64 + header.payload_length);
        if header.opcode == opcode::CLOSE {
            self.heard_close.store(true, Ordering::Relaxed);
        }
        if header.fin && !opcode::is_control(header.opcode) {
            self.counters.message_given();
        }
    }

    /// Whether the peer is in the middle of a frame that was refused: nothing that it answers can be found.
    pub fn is_within_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed) > 0
    }
}

fn read_retrying(stream: &Duplex, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) => wait_out(stream, error)?,
            read => return read,
        }
    }
}

/// Waits until a read may be done once more: it was interrupted, or it timed out, which is a matter of frames only.
/// Other errors come back.
fn wait_out(stream: &Duplex, error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock => stream.wait_readable(None).map(drop),
        _ => Err(error),
    }
}

/// `length` bytes: those that were read ahead, then straight from the socket. Their memory grows as they come.
fn read_bytes(stream: &Duplex, unread: &mut BytesMut, length: u64) -> Result<Vec<u8>, FrameReadError> {
    let ahead = unread.len().min(usize::try_from(length).unwrap_or(usize::MAX));
    let mut bytes = unread.split_to(ahead).to_vec();
    loop {
        let wanted = length - bytes.len() as u64;
        if wanted == 0 {
            return Ok(bytes);
        }
        let size = usize::try_from(wanted).unwrap_or(usize::MAX).min(bytes.len().max(RAW_READ));
        memory::reserve_exact(&mut bytes, size)?;
        match stream.read_whole(&mut bytes.spare_capacity_mut()[..size]) {
            Err(error) => wait_out(stream, error).map_err(|source| FrameReadError::Io { wanted, source })?,
            Ok(0) => return Err(FrameReadError::Eof { wanted }),
            // SAFETY: so many were written after those that there are.
            Ok(count) => unsafe { bytes.set_len(bytes.len() + count) },
        }
    }
}
