//! A frame that is being read: its payload, as it comes from the socket.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, BytesMut};
use parking_lot::MutexGuard;

use crate::locks::Turn;
use crate::websocket::frame::FrameHeader;
use crate::websocket::mask::apply_mask;
use crate::websocket::memory;
use crate::websocket::utf8::Utf8Progress;
use crate::wire::limits::{Limits, Share};
use crate::wire::socket::received::{FrameReadError, RawFrame};
use crate::wire::socket::{READ_AHEAD, Socket};
use crate::wire::transport::Duplex;

/// How much memory a payload gets before its bytes arrive. A peer that announces 2^62 bytes costs no more.
const PAYLOAD_RESERVE: usize = 1 << 20;

/// How much of a payload is read at once: what has come is counted after each read.
const MAX_READ: usize = 1 << 20;

/// A frame whose header was read. Nobody else reads from the socket while it lives.
pub struct OpenFrame<'a> {
    /// The header.
    pub header: FrameHeader,
    /// How many bytes of the payload are in the buffer that was given, still masked.
    pub held: usize,
    /// How many bytes of the payload were read out.
    pub(super) done: usize,
    /// What has come of the payload, counted.
    pub share: Share,
    pub(super) socket: &'a Socket,
    pub(super) stream: Arc<Duplex>,
    pub(super) unread: MutexGuard<'a, BytesMut>,
    pub(super) _turn: Turn,
}

impl<'a> OpenFrame<'a> {
    /// Whether nothing has to be waited for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.header.payload_length == self.held as u64
    }

    /// What its connection is held to.
    #[must_use]
    pub fn limits(&self) -> &'a Arc<Limits> {
        &self.socket.limits
    }

    /// Gives the frame up: nobody wants what is still to come of it. The next frame is after that.
    pub fn refuse(&self) {
        let come = self.done.max(self.held) as u64;
        self.socket.refused.store(self.header.payload_length - come, Ordering::Relaxed);
    }

    /// The whole frame. Its memory grows as the bytes come. Waits for them, as [`fill`](Self::fill) does.
    pub fn into_raw(
        mut self,
        buffer: &[u8; READ_AHEAD],
        mut text: Option<Utf8Progress>,
    ) -> Result<RawFrame, FrameReadError> {
        let header = self.header;
        let length = usize::try_from(header.payload_length).unwrap_or(usize::MAX);
        let mut payload = Vec::new();
        while payload.len() < length {
            let before = payload.len();
            let size = (length - before).min(before.max(PAYLOAD_RESERVE));
            if let Err(error) = memory::reserve_exact(&mut payload, size) {
                self.refuse();
                return Err(error.into());
            }
            let room = &mut payload.spare_capacity_mut()[..size];
            let (piece, is_good) = self.fill(buffer, room, &mut text)?;
            let read = piece.len();
            // SAFETY: these bytes were read.
            unsafe { payload.set_len(before + read) };
            if !is_good {
                return Err(FrameReadError::NotUtf8(payload));
            }
        }
        Ok(RawFrame { header, payload, share: self.share })
    }

    /// Fills `room` with the next bytes of the payload, those that are in `buffer` and those that are still to come, and
    /// takes the mask off. Waits for them. With `text`, what came of the message before, bytes that are no UTF-8 end it
    /// before those after them are waited for: `false` beside what has come.
    pub fn fill<'p>(
        &mut self,
        buffer: &[u8; READ_AHEAD],
        room: &'p mut [MaybeUninit<u8>],
        text: &mut Option<Utf8Progress>,
    ) -> Result<(&'p mut [u8], bool), FrameReadError> {
        let before = self.done;
        let mut seen = 0;
        let mut filled = self.take_ready(buffer, room);
        let mut whole = true;
        loop {
            // SAFETY: `take_ready` and `wait` have written as many bytes as they say.
            let piece = unsafe { written(&mut room[seen..filled]) };
            if let Some(key) = self.header.mask {
                apply_mask(piece, key, before + seen);
            }
            self.done = before + filled;
            let missing = self.header.payload_length - self.done as u64;
            if let Err(error) = self.share.grow_to(self.done as u64, &self.socket.limits) {
                self.refuse();
                return Err(error.into());
            }
            // What is whole is judged as a whole, by those who decode it.
            let is_broken = text.as_mut().is_some_and(|text| missing > 0 && !text.push(piece));
            if is_broken {
                self.refuse();
            }
            if is_broken || filled == room.len() {
                // SAFETY: as above.
                return Ok((unsafe { written(&mut room[..filled]) }, !is_broken));
            }
            seen = filled;
            let most = room.len().min(filled + MAX_READ);
            filled += self.wait(&mut room[filled..most], missing, whole)?;
            // Waiting for all of a text is cheap; but when that takes long, each piece is looked at as it comes.
            whole = text.is_none();
        }
    }

    /// Moves what was read already into `room`; gives how much that was.
    fn take_ready(&mut self, buffer: &[u8; READ_AHEAD], room: &mut [MaybeUninit<u8>]) -> usize {
        let held = buffer[..self.held].get(self.done..).unwrap_or_default();
        let held = &held[..held.len().min(room.len())];
        let (front, rest) = room.split_at_mut(held.len());
        copy(held, front);
        let ahead = rest.len().min(self.unread.len());
        copy(&self.unread[..ahead], &mut rest[..ahead]);
        self.unread.advance(ahead);
        held.len() + ahead
    }

    /// Waits for bytes: for the `whole` of `room` if they come soon, or for some. `missing` are those that the frame
    /// lacks.
    fn wait(&self, room: &mut [MaybeUninit<u8>], missing: u64, whole: bool) -> Result<usize, FrameReadError> {
        let stream = &self.stream;
        self.socket.read_alive(stream, missing, || {
            if whole { stream.read_whole(room) } else { stream.read_piece(room) }
        })
    }

    /// Waits until the payload, which fits, is in `buffer`.
    #[inline(never)]
    pub(super) fn hold_all(&mut self, buffer: &mut [u8; READ_AHEAD]) -> Result<(), FrameReadError> {
        while !self.is_complete() {
            let missing = self.header.payload_length - self.held as u64;
            if self.unread.is_empty() {
                let mut more = [0; READ_AHEAD];
                let count = self.socket.read_something(&self.stream, &mut more, missing)?;
                self.unread.extend_from_slice(&more[..count]);
            }
            let ahead = self.unread.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            buffer[self.held..self.held + ahead].copy_from_slice(&self.unread[..ahead]);
            self.unread.advance(ahead);
            self.held += ahead;
        }
        Ok(())
    }
}

/// Bytes as such.
///
/// # Safety
///
/// All of them must have been written.
unsafe fn written(bytes: &mut [MaybeUninit<u8>]) -> &mut [u8] {
    // SAFETY: the caller's promise; the two types have one layout.
    unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [u8]) }
}

fn copy(from: &[u8], to: &mut [MaybeUninit<u8>]) {
    for (to, from) in to.iter_mut().zip(from) {
        to.write(*from);
    }
}
