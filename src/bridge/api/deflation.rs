//! What is deflated and inflated on a connection (RFC 7692): the state, without the objects that filters need.

use std::mem::{self, MaybeUninit};
use std::sync::Arc;

use pyo3::prelude::*;

use crate::bridge::python::detach::detached;
use crate::bridge::python::refusals::NotInflated;
use crate::locks::{Lock, TurnKept, Turns};
use crate::websocket::deflate::{
    InflateError, Inflating, MAX_GROWTH, MAX_WINDOW_BITS, MessageDeflater, MessageInflater,
};
use crate::websocket::frame::{FrameHeader, opcode};
use crate::websocket::memory::NoMemory;
use crate::wire::limits::{Limits, Share};
use crate::wire::transport::zeroed;

/// What a framer knows of the messages it sends.
pub(crate) struct Outgoing {
    deflater: MessageDeflater,
    pub(crate) bfinal: bool,
    pub(crate) enabled: bool,
    /// A compressed message was begun and has fragments to come.
    ongoing: bool,
    /// The next frame gets RSV1.
    mark_next_frame: bool,
}

impl Outgoing {
    /// A message, or a fragment of one, as the payload of a frame.
    pub(crate) fn compress(&mut self, data: &[u8], end: bool) -> Result<Vec<u8>, NoMemory> {
        let compressed = self.deflater.filter(data, end, self.bfinal)?;
        if !self.ongoing {
            self.mark_next_frame = true;
        }
        self.ongoing = !end;
        Ok(compressed)
    }

    /// Whether the next data frame gets RSV1. Asked once for each frame.
    pub(crate) fn takes_mark(&mut self) -> bool {
        mem::take(&mut self.mark_next_frame)
    }
}

/// What a framer knows of the messages it receives.
pub(crate) struct Incoming {
    inflater: MessageInflater,
    /// The message that is being received had RSV1 on its first frame.
    pub(crate) inflate_next: bool,
}

/// The messages of a connection, in both directions. They share no lock: a thread that sends does not wait for one that
/// receives.
pub(crate) struct Deflation {
    pub(crate) outgoing: Lock<Outgoing>,
    incoming: Lock<Incoming>,
    /// One message is inflated after the other.
    inflating: Turns,
}

impl Deflation {
    /// Deflates with a window of so many bits, for each message anew or not; messages are sent as they are until
    /// [`enable`](Self::enable).
    pub(crate) fn new(window_bits: u8, no_context_takeover: bool) -> Self {
        Self {
            outgoing: Lock::new(Outgoing {
                deflater: MessageDeflater::new(window_bits, no_context_takeover),
                bfinal: false,
                enabled: false,
                ongoing: false,
                mark_next_frame: false,
            }),
            incoming: Lock::new(Incoming {
                // Any window the client uses fits into the largest one.
                inflater: MessageInflater::new(MAX_WINDOW_BITS),
                inflate_next: false,
            }),
            inflating: Turns::default(),
        }
    }

    /// Compresses outgoing messages from now on.
    pub(crate) fn enable(&self) {
        self.outgoing.lock().enabled = true;
    }

    /// Does `work` to the state of what is sent. A thread that waits for the peer may have it, so it is waited for
    /// detached.
    pub(crate) fn with_outgoing<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Outgoing) -> T + Send,
    ) -> T {
        match self.outgoing.try_lock() {
            Some(mut outgoing) => work(&mut outgoing),
            None => detached(py, || work(&mut self.outgoing.lock())),
        }
    }

    /// The same for the state of what is received, which a thread that inflates may have.
    pub(crate) fn with_incoming<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Incoming) -> T + Send,
    ) -> T {
        match self.incoming.try_lock() {
            Some(mut incoming) => work(&mut incoming),
            None => detached(py, || work(&mut self.incoming.lock())),
        }
    }

    /// Takes RSV1 off the first frame of a compressed message, as the filter of frames does.
    pub(crate) fn takes_mark(&self, py: Python<'_>, header: &mut FrameHeader) {
        if header.rsv1 && !opcode::is_control(header.opcode) {
            self.with_incoming(py, |incoming| incoming.inflate_next = true);
            header.rsv1 = false;
        }
    }

    /// Whether a message that has come as a whole is compressed. Asked once for each.
    pub(crate) fn takes_inflate_next(&self, py: Python<'_>) -> bool {
        self.with_incoming(py, |incoming| mem::take(&mut incoming.inflate_next))
    }

    /// Begins to inflate the payload of a compressed message, which most messages are done with. `share` counts it
    /// together with what it inflates to. Must be called detached from Python: another message may have the turn.
    pub(crate) fn begin<'a>(
        &'a self,
        payload: &'a [u8],
        share: &mut Share,
        limits: &'a Arc<Limits>,
    ) -> Result<Inflated<'a>, NotInflated> {
        let turn = self.inflating.take();
        let mut message = Inflating::new(payload, limits.max_message_size());
        let mut ahead = Vec::new();
        let mut is_whole = false;
        while !is_whole && ahead.len() < MAX_GROWTH {
            is_whole = self.incoming.lock().inflater.inflate_more(&mut message, &mut ahead)?;
        }
        let compressed = payload.len() as u64;
        if is_whole {
            share.grow_to(compressed + message.size(), limits)?;
            return Ok(Inflated::Whole(ahead));
        }
        Ok(Inflated::Begun(InflatingMessage {
            deflation: self,
            message,
            ahead,
            compressed,
            limits,
            _turn: turn,
        }))
    }

    /// Whether messages are compressed, or sent as they are.
    pub(crate) fn compresses(&self, py: Python<'_>) -> bool {
        self.with_outgoing(py, |outgoing| outgoing.enabled)
    }

    /// Compresses a message, or a fragment of one, and gives the payload to `write`, with whether its frame gets RSV1.
    /// Other messages wait meanwhile: what is compressed first must be sent first.
    pub(crate) fn compress_and<T>(
        &self,
        data: &[u8],
        end: bool,
        write: impl FnOnce(&[u8], bool) -> T,
    ) -> Result<T, NoMemory> {
        let mut outgoing = self.outgoing.lock();
        let payload = outgoing.compress(data, end)?;
        let rsv1 = outgoing.takes_mark();
        Ok(write(&payload, rsv1))
    }
}

/// A message that was inflated, or that turned out to be large.
pub(crate) enum Inflated<'a> {
    /// All of it.
    Whole(Vec<u8>),
    /// There is more.
    Begun(InflatingMessage<'a>),
}

/// A large message that is being inflated. No other one is while it lives.
pub(crate) struct InflatingMessage<'a> {
    deflation: &'a Deflation,
    message: Inflating<'a>,
    /// Its beginning, until that was taken.
    ahead: Vec<u8>,
    /// The size of its payload.
    compressed: u64,
    limits: &'a Arc<Limits>,
    _turn: TurnKept<'a>,
}

/// A piece of an inflated message.
pub(crate) struct Piece {
    pub(crate) size: usize,
    pub(crate) is_ascii: bool,
    pub(crate) is_last: bool,
}

impl InflatingMessage<'_> {
    /// Inflates as much as there is room for, which is [`MAX_GROWTH`] at least twice.
    pub(crate) fn fill(
        &mut self,
        room: &mut [MaybeUninit<u8>],
        share: &mut Share,
    ) -> Result<Piece, NotInflated> {
        let ahead = mem::take(&mut self.ahead);
        for (to, from) in room.iter_mut().zip(&ahead) {
            to.write(*from);
        }
        let mut piece = Piece { size: ahead.len(), is_ascii: ahead.is_ascii(), is_last: false };
        drop(ahead);
        while piece.size < room.len() && !piece.is_last {
            let end = room.len().min(piece.size + MAX_GROWTH);
            let part = zeroed(&mut room[piece.size..end]);
            let count = self.deflation.incoming.lock().inflater.inflate_piece(&mut self.message, part)?;
            piece.size += count;
            piece.is_ascii &= part[..count].is_ascii();
            piece.is_last = count < part.len();
            if let Err(error) = share.grow_to(self.compressed + self.message.size(), self.limits) {
                self.fail();
                return Err(error.into());
            }
        }
        Ok(piece)
    }

    /// Leaves the message as it is. It was the last one.
    pub(crate) fn fail(&self) {
        self.deflation.incoming.lock().inflater.fail(InflateError::TooLarge);
    }
}
