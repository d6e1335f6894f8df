//! DEFLATE for permessage-deflate (RFC 7692 section 7.2): streams that are compressed and inflated piece by piece, and
//! the messages on top of them. The behaviour, quirks included, is that of pywebsocket's `util` module over zlib.
//!
//! Must not import tokio or pyo3.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use thiserror::Error;

use super::memory::{self, NoMemory};
use crate::per_process::PerProcess;

/// What a sync flush ends with, and what a message on the wire lacks (RFC 7692 section 7.2.1): length and complement
/// of an empty stored block.
const SYNC_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The largest window, 32 KiB, as the exponent of its size.
pub const MAX_WINDOW_BITS: u8 = 15;

/// How much of what a connection has sent its next message may refer to. All of the window could be (RFC 7692 section
/// 7.1.1), but what is near is nearly all that helps.
const CONTEXT: usize = 2048;

/// zlib's smallest window. Extensions may ask for 8: zlib's compressor with 9 keeps its references within the 256
/// bytes that a receiver with 8 has, and a decompressor with 9 takes what one with 8 takes.
const MIN_ZLIB_WINDOW_BITS: u8 = 9;

/// Output is grown by at least this many bytes.
const MIN_GROWTH: usize = 128;
/// More input than a compressor can hold back: its window, and the symbols of an unfinished block.
const MAX_HELD: usize = 1 << 18;
/// Output of the inflater is grown by at most this many bytes, so that a limit bounds the memory, too.
pub const MAX_GROWTH: usize = 1 << 18;

/// What to do after the bytes given to [`Deflater::compress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Nothing: output may stay inside until more comes.
    None,
    /// Give out all, ending with an empty stored block: `00 00 FF FF`.
    Sync,
    /// Give out all and end the stream with a final block.
    Finish,
}

/// A raw DEFLATE compressor (RFC 1951) with zlib's default level.
#[derive(Debug)]
pub struct Deflater {
    stream: Compress,
    /// Bytes taken since the last flush.
    unflushed: usize,
}

impl Deflater {
    /// A compressor whose window has 2^`window_bits` bytes, 8..=15; 8 is taken as 9 (pywebsocket does so, too).
    #[must_use]
    pub fn new(window_bits: u8) -> Self {
        let window_bits = window_bits.clamp(MIN_ZLIB_WINDOW_BITS, MAX_WINDOW_BITS);
        Self {
            stream: Compress::new_with_window_bits(Compression::default(), false, window_bits),
            unflushed: 0,
        }
    }

    /// Starts a new stream, or one that goes on after `context`: it may refer to its bytes.
    fn start_behind(&mut self, context: &[u8]) {
        self.stream.reset();
        self.unflushed = 0;
        if !context.is_empty() {
            self.stream.set_dictionary(context).expect("a stream that has just begun takes a dictionary");
        }
    }

    /// Compresses `data` and gives what is ready. After [`Flush::Finish`] the next call starts a new stream. An error
    /// loses the stream: what was taken of `data` is in it.
    ///
    /// # Panics
    /// Never: the compressor only refuses calls that this type does not make.
    pub fn compress(&mut self, data: &[u8], flush: Flush) -> Result<Vec<u8>, NoMemory> {
        let mut output = Vec::new();
        // Without this call of its own, a flush of nothing right after a flush would be taken for a repetition.
        self.run(data, FlushCompress::None, &mut output)?;
        self.unflushed = self.unflushed.saturating_add(data.len());
        if flush == Flush::None {
            return Ok(output);
        }
        // A flush that fills the output to the last byte would have to be repeated, and leave a second marker. So
        // there is room for all that is held back, which DEFLATE makes larger by an eighth at most.
        let held = self.unflushed.min(MAX_HELD);
        memory::reserve(&mut output, held + held / 4 + MIN_GROWTH)?;
        self.unflushed = 0;
        if flush == Flush::Sync {
            self.run(&[], FlushCompress::Sync, &mut output)?;
        } else {
            self.run(&[], FlushCompress::Finish, &mut output)?;
            self.stream.reset();
        }
        Ok(output)
    }

    /// Calls the compressor until all of `data` is taken and it has nothing more to give.
    fn run(&mut self, mut data: &[u8], flush: FlushCompress, output: &mut Vec<u8>) -> Result<(), NoMemory> {
        loop {
            memory::reserve(output, MIN_GROWTH.max(data.len() / 4))?;
            let taken_before = self.stream.total_in();
            let status = self
                .stream
                .compress_vec(data, output, flush)
                .expect("the compressor takes any data after a valid set-up");
            data = unread(data, self.stream.total_in() - taken_before);
            let has_room = output.len() < output.capacity();
            if status == Status::StreamEnd || (has_room && data.is_empty()) {
                return Ok(());
            }
        }
    }
}

/// What is left of `data` after `taken` bytes of it.
fn unread(data: &[u8], taken: u64) -> &[u8] {
    usize::try_from(taken).ok().and_then(|taken| data.get(taken..)).unwrap_or_default()
}

/// A stream that cannot be inflated. All end the connection: close code 1002 (or the handler's choice), and 1009.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InflateError {
    /// Not a DEFLATE stream; the text is zlib's reason, in the form that Python's `zlib.error` has.
    #[error("Error -3 while decompressing data: {0}")]
    Corrupt(String),
    /// More output than the limit allows.
    #[error("Inflated message is larger than the limit")]
    TooLarge,
    /// There is no memory for the output.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
}

/// By how much output grows after `size` bytes, when `input` more are to be inflated.
fn growth(input: usize, size: usize) -> usize {
    input.saturating_mul(3).max(size).clamp(MIN_GROWTH, MAX_GROWTH)
}

/// A decompressor for a sequence of raw DEFLATE streams: where one ends with a final block the next one starts.
#[derive(Debug)]
struct StreamInflater {
    window_bits: u8,
    /// Made when there is something to inflate: its window takes as much memory as an idle connection.
    stream: Option<Decompress>,
    /// The final block was read; the next byte belongs to a new stream.
    ended: bool,
}

impl StreamInflater {
    fn new(window_bits: u8) -> Self {
        let window_bits = window_bits.clamp(MIN_ZLIB_WINDOW_BITS, MAX_WINDOW_BITS);
        Self { window_bits, stream: None, ended: false }
    }

    fn reset(&mut self) {
        *self = Self::new(self.window_bits);
    }

    /// Inflates `input` into `room`; gives what was not read of `input`, which is nothing unless `room` is full, and how
    /// many bytes of `room` were filled.
    fn run<'a>(&mut self, mut input: &'a [u8], room: &mut [u8]) -> Result<(&'a [u8], usize), InflateError> {
        let mut filled = 0;
        loop {
            if self.ended {
                if input.is_empty() {
                    return Ok((input, filled));
                }
                self.reset();
            }
            if filled == room.len() {
                return Ok((input, filled));
            }
            let window_bits = self.window_bits;
            let stream =
                self.stream.get_or_insert_with(|| Decompress::new_with_window_bits(false, window_bits));
            let (read_before, written_before) = (stream.total_in(), stream.total_out());
            let result = stream.decompress(input, &mut room[filled..], FlushDecompress::None);
            filled = room.len() - unread(&room[filled..], stream.total_out() - written_before).len();
            input = unread(input, stream.total_in() - read_before);
            match result {
                Ok(Status::StreamEnd) => self.ended = true,
                Ok(Status::Ok | Status::BufError) if filled < room.len() => return Ok((input, filled)),
                Ok(Status::Ok | Status::BufError) => {}
                Err(error) => {
                    return Err(InflateError::Corrupt(
                        error.message().unwrap_or("invalid input data").to_owned(),
                    ));
                }
            }
        }
    }
}

/// A decompressor that is given input with [`append`](Self::append) and asked for output with
/// [`decompress`](Self::decompress).
#[derive(Debug)]
pub struct Inflater {
    stream: StreamInflater,
    /// Appended and not yet read.
    input: Vec<u8>,
}

impl Inflater {
    /// A decompressor for streams whose window has 2^`window_bits` bytes, 8..=15.
    #[must_use]
    pub fn new(window_bits: u8) -> Self {
        Self { stream: StreamInflater::new(window_bits), input: Vec::new() }
    }

    /// Adds input after what was not read yet.
    pub fn append(&mut self, data: &[u8]) -> Result<(), NoMemory> {
        memory::append(&mut self.input, data)
    }

    /// Inflates what was appended, to at most `max` bytes; what does not fit comes with the next call.
    ///
    /// After an error every call fails until [`reset`](Self::reset).
    pub fn decompress(&mut self, max: Option<usize>) -> Result<Vec<u8>, InflateError> {
        let max = max.unwrap_or(usize::MAX);
        let (mut output, mut rest) = (Vec::new(), &self.input[..]);
        while output.len() < max {
            let size = growth(rest.len(), output.len()).min(max - output.len());
            let filled = extend(&mut output, size, |room| {
                let (left, filled) = self.stream.run(rest, room)?;
                rest = left;
                Ok(filled)
            })?;
            if filled < size {
                break;
            }
        }
        let left = rest.len();
        self.input.drain(..self.input.len() - left);
        Ok(output)
    }

    /// Forgets the stream, its window included, but not the input that was appended and not read.
    pub fn reset(&mut self) {
        self.stream.reset();
    }
}

/// Lets `fill` put up to `size` bytes after those of `output`; gives how many it put there.
fn extend(
    output: &mut Vec<u8>,
    size: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<usize, InflateError>,
) -> Result<usize, InflateError> {
    let start = output.len();
    memory::reserve(output, size)?;
    output.resize(start + size, 0);
    let filled = fill(&mut output[start..])?;
    output.truncate(start + filled);
    Ok(filled)
}

/// Compressors that no message is going through, for each window. The one that was used last comes first: its tables
/// are in the processor's cache.
pub(super) static IDLE: PerProcess<Idle> = PerProcess::new(NONE_IDLE, || NONE_IDLE);

type Idle = [Mutex<Vec<Deflater>>; MAX_WINDOW_BITS as usize + 1];

#[allow(clippy::declare_interior_mutable_const, reason = "each use is a new one")]
const NONE_IDLE: Idle = [const { Mutex::new(Vec::new()) }; MAX_WINDOW_BITS as usize + 1];

/// A panic while it was locked has left it as it was.
fn lock(idle: &Mutex<Vec<Deflater>>) -> MutexGuard<'_, Vec<Deflater>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many compressors of a window are kept when they are idle.
const MOST_IDLE: usize = 16;

/// Compresses the messages of one connection (RFC 7692 section 7.2.1).
///
/// A connection has no compressor of its own, only a context: a few KiB of what it sent last, instead of a few hundred.
/// Any compressor goes on from there, one that other connections use, too. With many connections that is also several
/// times as fast, because tables that are not in the processor's cache cost more than the compression
/// (`docs/benchmarks.md`).
#[derive(Debug)]
pub struct MessageDeflater {
    window_bits: u8,
    no_context_takeover: bool,
    /// The end of what was sent.
    context: Vec<u8>,
}

impl MessageDeflater {
    /// A compressor with a window of 2^`window_bits` bytes, 8..=15, that forgets what was sent after each
    /// message when `no_context_takeover` is set.
    #[must_use]
    pub fn new(window_bits: u8, no_context_takeover: bool) -> Self {
        let window_bits = window_bits.clamp(MIN_ZLIB_WINDOW_BITS, MAX_WINDOW_BITS);
        Self { window_bits, no_context_takeover, context: Vec::new() }
    }

    /// Compresses a message, or a fragment of one when `end` is false, to the payload of a frame.
    ///
    /// With `bfinal` the stream ends with a final block and a `00` after it (RFC 7692 section 7.2.3.4) and the context
    /// is forgotten. pywebsocket: the `00` comes even when `end` is false, and nobody can inflate such a message. An error
    /// changes nothing.
    pub fn filter(&mut self, data: &[u8], end: bool, bfinal: bool) -> Result<Vec<u8>, NoMemory> {
        let idle = &IDLE.get()[usize::from(self.window_bits)];
        let taken = lock(idle).pop();
        let mut deflater = taken.unwrap_or_else(|| Deflater::new(self.window_bits));
        deflater.start_behind(&self.context);
        let mut payload = deflater.compress(data, if bfinal { Flush::Finish } else { Flush::Sync })?;
        if bfinal {
            memory::append(&mut payload, &[0x00])?;
        } else if end {
            payload.truncate(payload.len() - SYNC_TAIL.len());
        }
        let mut idle = lock(idle);
        if idle.len() < MOST_IDLE {
            idle.push(deflater);
        }
        drop(idle);
        self.remember(data, bfinal || (end && self.no_context_takeover));
        Ok(payload)
    }

    /// Takes what was sent into the context, or begins with an empty one.
    fn remember(&mut self, data: &[u8], forget: bool) {
        if forget {
            self.context = Vec::new();
            return;
        }
        let new = &data[data.len().saturating_sub(CONTEXT)..];
        let old = self.context.len().saturating_sub(CONTEXT - new.len());
        self.context.drain(..old);
        self.context.extend_from_slice(new);
    }
}

/// Inflates the messages of one connection (RFC 7692 section 7.2.2). The window is always kept from message to
/// message, which serves senders with and without context takeover.
#[derive(Debug)]
pub struct MessageInflater {
    stream: StreamInflater,
    /// Why an earlier message could not be inflated: the stream's state is lost since.
    failed: Option<InflateError>,
}

impl MessageInflater {
    /// A decompressor for a window of 2^`window_bits` bytes, 8..=15.
    #[must_use]
    pub fn new(window_bits: u8) -> Self {
        Self { stream: StreamInflater::new(window_bits), failed: None }
    }

    /// Inflates the next piece of a message into `room`, which is not empty; gives how many bytes that is. Fewer than
    /// there is room for: it was the last one. After an error every call gives the same error.
    pub fn inflate_piece(
        &mut self,
        message: &mut Inflating<'_>,
        room: &mut [u8],
    ) -> Result<usize, InflateError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = message.inflate_piece(&mut self.stream, room);
        self.failed = result.as_ref().err().cloned();
        result
    }

    /// A message was left in its middle: no later one can be inflated.
    pub fn fail(&mut self, error: InflateError) {
        self.failed = Some(error);
    }

    /// Puts more of a message after those of its bytes that are in `output`. `true`: that is all of it.
    pub fn inflate_more(
        &mut self,
        message: &mut Inflating<'_>,
        output: &mut Vec<u8>,
    ) -> Result<bool, InflateError> {
        let size = growth(message.rest.len(), output.len()).min(message.most());
        let filled = extend(output, size, |room| self.inflate_piece(message, room));
        if let Err(error @ InflateError::NoMemory(_)) = &filled {
            self.fail(error.clone());
        }
        Ok(filled? < size)
    }

    /// Inflates the payload of a whole message to at most `limit` bytes; not much more memory is used before it is
    /// refused.
    pub fn inflate(&mut self, payload: &[u8], limit: u64) -> Result<Vec<u8>, InflateError> {
        let (mut message, mut output) = (Inflating::new(payload, limit), Vec::new());
        while !self.inflate_more(&mut message, &mut output)? {}
        Ok(output)
    }
}

/// A message that is being inflated piece by piece.
#[derive(Debug)]
pub struct Inflating<'a> {
    /// What was not read yet of its payload, or of what it lacks on the wire.
    rest: &'a [u8],
    /// Whether all of the payload was read.
    is_in_tail: bool,
    size: u64,
    limit: u64,
}

impl<'a> Inflating<'a> {
    /// The message of a whole payload, which inflates to at most `limit` bytes.
    #[must_use]
    pub fn new(payload: &'a [u8], limit: u64) -> Self {
        Self { rest: payload, is_in_tail: false, size: 0, limit }
    }

    /// How many bytes came out so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many more bytes are of use: one more than allowed tells a message that is too large from one that just fits.
    fn most(&self) -> usize {
        usize::try_from(self.limit.saturating_sub(self.size).saturating_add(1)).unwrap_or(usize::MAX)
    }

    fn inflate_piece(&mut self, stream: &mut StreamInflater, room: &mut [u8]) -> Result<usize, InflateError> {
        let most = self.most().min(room.len());
        let room = &mut room[..most];
        let mut filled = 0;
        loop {
            let (rest, count) = stream.run(self.rest, &mut room[filled..])?;
            self.rest = rest;
            filled += count;
            self.size += count as u64;
            if self.size > self.limit {
                return Err(InflateError::TooLarge);
            }
            if filled == room.len() || self.is_in_tail {
                return Ok(filled);
            }
            (self.rest, self.is_in_tail) = (&SYNC_TAIL, true);
        }
    }
}

impl Default for MessageInflater {
    /// With the largest window, which reads every sender's streams.
    fn default() -> Self {
        Self::new(MAX_WINDOW_BITS)
    }
}

#[cfg(test)]
mod tests;
