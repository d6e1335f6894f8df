//! DEFLATE for permessage-deflate (RFC 7692 section 7.2): streams that are compressed and inflated piece by piece, and
//! the messages on top of them. The behaviour, quirks included, is that of pywebsocket's `util` module over zlib.
//!
//! Must not import tokio or pyo3.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use thiserror::Error;

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
const MAX_GROWTH: usize = 1 << 18;

/// What to do behind the bytes given to [`Deflater::compress`].
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

    /// Starts a new stream, or one that goes on behind `context`: it may refer to its bytes.
    fn start_behind(&mut self, context: &[u8]) {
        self.stream.reset();
        self.unflushed = 0;
        if !context.is_empty() {
            self.stream.set_dictionary(context).expect("a stream that has just begun takes a dictionary");
        }
    }

    /// Compresses `data` and gives what is ready. After [`Flush::Finish`] the next call starts a new stream.
    ///
    /// # Panics
    /// Never: the compressor only refuses calls that this type does not make.
    pub fn compress(&mut self, data: &[u8], flush: Flush) -> Vec<u8> {
        let mut output = Vec::new();
        // Without this call of its own, a flush of nothing right behind a flush would be taken for a repetition.
        self.run(data, FlushCompress::None, &mut output);
        self.unflushed = self.unflushed.saturating_add(data.len());
        if flush == Flush::None {
            return output;
        }
        // A flush that fills the output to the last byte would have to be repeated, and leave a second marker. So
        // there is room for all that is held back, which DEFLATE makes larger by an eighth at most.
        let held = self.unflushed.min(MAX_HELD);
        output.reserve(held + held / 4 + MIN_GROWTH);
        self.unflushed = 0;
        if flush == Flush::Sync {
            self.run(&[], FlushCompress::Sync, &mut output);
        } else {
            self.run(&[], FlushCompress::Finish, &mut output);
            self.stream.reset();
        }
        output
    }

    /// Calls the compressor until all of `data` is taken and it has nothing more to give.
    fn run(&mut self, mut data: &[u8], flush: FlushCompress, output: &mut Vec<u8>) {
        loop {
            output.reserve(MIN_GROWTH.max(data.len() / 4));
            let taken_before = self.stream.total_in();
            let status = self
                .stream
                .compress_vec(data, output, flush)
                .expect("the compressor takes any data after a valid set-up");
            data = unread(data, self.stream.total_in() - taken_before);
            let has_room = output.len() < output.capacity();
            if status == Status::StreamEnd || (has_room && data.is_empty()) {
                return;
            }
        }
    }
}

/// What is left of `data` after `taken` bytes of it.
fn unread(data: &[u8], taken: u64) -> &[u8] {
    usize::try_from(taken).ok().and_then(|taken| data.get(taken..)).unwrap_or_default()
}

/// A stream that cannot be inflated. Both end the connection: close code 1002 (or the handler's choice) and 1009.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InflateError {
    /// Not a DEFLATE stream; the text is zlib's reason, in the form that Python's `zlib.error` has.
    #[error("Error -3 while decompressing data: {0}")]
    Corrupt(String),
    /// More output than the limit allows.
    #[error("Inflated message is larger than the limit")]
    TooLarge,
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

    /// Inflates `input` to the end of `output`, which grows to `max` bytes at most; gives what was not read of
    /// `input`, which is nothing unless `output` is full.
    fn run<'a>(
        &mut self,
        mut input: &'a [u8],
        output: &mut Vec<u8>,
        max: usize,
    ) -> Result<&'a [u8], InflateError> {
        loop {
            if self.ended {
                if input.is_empty() {
                    return Ok(input);
                }
                self.reset();
            }
            let start = output.len();
            if start >= max {
                return Ok(input);
            }
            let wanted = input.len().saturating_mul(3).max(start).clamp(MIN_GROWTH, MAX_GROWTH);
            output.resize(start.saturating_add(wanted).min(max), 0);
            let window_bits = self.window_bits;
            let stream =
                self.stream.get_or_insert_with(|| Decompress::new_with_window_bits(false, window_bits));
            let (read_before, written_before) = (stream.total_in(), stream.total_out());
            let result = stream.decompress(input, &mut output[start..], FlushDecompress::None);
            let room = unread(&output[start..], stream.total_out() - written_before).len();
            output.truncate(output.len() - room);
            input = unread(input, stream.total_in() - read_before);
            match result {
                Ok(Status::StreamEnd) => self.ended = true,
                Ok(Status::Ok | Status::BufError) if room > 0 => return Ok(input),
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

    /// Adds input behind what was not read yet.
    pub fn append(&mut self, data: &[u8]) {
        self.input.extend_from_slice(data);
    }

    /// Inflates what was appended, to at most `max` bytes; what does not fit comes with the next call.
    ///
    /// After an error every call fails until [`reset`](Self::reset).
    pub fn decompress(&mut self, max: Option<usize>) -> Result<Vec<u8>, InflateError> {
        let mut output = Vec::new();
        let left = self.stream.run(&self.input, &mut output, max.unwrap_or(usize::MAX))?.len();
        self.input.drain(..self.input.len() - left);
        Ok(output)
    }

    /// Forgets the stream, its window included, but not the input that was appended and not read.
    pub fn reset(&mut self) {
        self.stream.reset();
    }
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
    /// A compressor with a window of 2^`window_bits` bytes, 8..=15, that forgets what was sent behind each
    /// message when `no_context_takeover` is set.
    #[must_use]
    pub fn new(window_bits: u8, no_context_takeover: bool) -> Self {
        let window_bits = window_bits.clamp(MIN_ZLIB_WINDOW_BITS, MAX_WINDOW_BITS);
        Self { window_bits, no_context_takeover, context: Vec::new() }
    }

    /// Compresses a message, or a fragment of one when `end` is false, to the payload of a frame.
    ///
    /// With `bfinal` the stream ends with a final block and a `00` behind it (RFC 7692 section 7.2.3.4) and the context
    /// is forgotten. pywebsocket: the `00` comes even when `end` is false, and nobody can inflate such a message.
    pub fn filter(&mut self, data: &[u8], end: bool, bfinal: bool) -> Vec<u8> {
        let idle = &IDLE.get()[usize::from(self.window_bits)];
        let taken = lock(idle).pop();
        let mut deflater = taken.unwrap_or_else(|| Deflater::new(self.window_bits));
        deflater.start_behind(&self.context);
        let mut payload = deflater.compress(data, if bfinal { Flush::Finish } else { Flush::Sync });
        if bfinal {
            payload.push(0x00);
        } else if end {
            payload.truncate(payload.len() - SYNC_TAIL.len());
        }
        let mut idle = lock(idle);
        if idle.len() < MOST_IDLE {
            idle.push(deflater);
        }
        drop(idle);
        self.remember(data, bfinal || (end && self.no_context_takeover));
        payload
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

    /// Inflates the payload of a whole message to at most `limit` bytes; not much more memory is used before it is
    /// refused. After an error every call gives the same error.
    pub fn inflate(&mut self, payload: &[u8], limit: u64) -> Result<Vec<u8>, InflateError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.inflate_within(payload, limit);
        self.failed = result.as_ref().err().cloned();
        result
    }

    fn inflate_within(&mut self, payload: &[u8], limit: u64) -> Result<Vec<u8>, InflateError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // One byte more than allowed tells a message that is too large from one that just fits.
        let max = limit.saturating_add(1);
        let mut message = Vec::new();
        self.stream.run(payload, &mut message, max)?;
        if message.len() <= limit {
            self.stream.run(&SYNC_TAIL, &mut message, max)?;
        }
        if message.len() > limit {
            return Err(InflateError::TooLarge);
        }
        Ok(message)
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
