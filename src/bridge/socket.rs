//! The socket of a handler: blocking reads and writes, always called detached from Python.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};

use super::transport::Duplex;
use crate::handlers::Transport;
use crate::websocket::frame::{FrameHeader, HeaderStep, LengthError, parse_header};
use crate::websocket::mask::apply_mask;

/// How much is read at once when a frame header is wanted: the header and a small payload together. What is
/// read too much stays here, where `connection.read` finds it, too.
const READ_AHEAD: usize = 4096;

/// How much memory a payload gets before its bytes arrive. A peer that announces 2^62 bytes costs no more.
const PAYLOAD_RESERVE: u64 = 1 << 20;

/// Where a frame header's 8-byte length ends (RFC 6455 section 5.2).
const LONG_LENGTH_END: usize = 10;

/// The most that one raw read returns, however much is asked for.
const RAW_READ: usize = 1 << 20;

/// A connection's socket. Reading and writing share no lock, so one thread may wait for a message while
/// another sends.
pub struct Socket {
    stream: RwLock<Option<Arc<Duplex>>>,
    unread: Mutex<BytesMut>,
    writing: Mutex<()>,
    /// The client's address.
    pub peer: SocketAddr,
}

/// Why a frame could not be read.
#[derive(Debug)]
pub enum FrameReadError {
    /// The peer closed the connection with this many bytes still wanted.
    Eof {
        /// Bytes that were wanted.
        wanted: u64,
    },
    /// The system refused with this many bytes still wanted.
    Io {
        /// Bytes that were wanted.
        wanted: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The frame is masked and must not be, or the other way round.
    WrongMasking,
    /// The length field is 2^63 or more.
    Length(LengthError),
    /// The payload is larger than the limit.
    TooLarge,
}

/// A frame as it came from the wire, its payload unmasked.
#[derive(Debug)]
pub struct RawFrame {
    /// The header.
    pub header: FrameHeader,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Socket {
    /// Takes over a transport and what was already read from it.
    pub fn new(transport: Transport, unread: &Bytes, peer: SocketAddr) -> Self {
        Self {
            stream: RwLock::new(Some(Arc::new(transport.into()))),
            unread: Mutex::new(BytesMut::from(unread.as_ref())),
            writing: Mutex::new(()),
            peer,
        }
    }

    /// The socket, or the error that Python gives for a closed file.
    fn open(&self) -> io::Result<Arc<Duplex>> {
        self.stream.read().clone().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

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
            return Ok(unread.split_to(taken).to_vec());
        }
        let mut buffer = vec![0; max];
        let count = read_retrying(&stream, &mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// Exactly `length` bytes, or the error with what was still wanted.
    pub fn read_exactly(&self, length: u64) -> Result<Vec<u8>, FrameReadError> {
        let stream = self.open().map_err(|source| FrameReadError::Io { wanted: length, source })?;
        read_payload(&stream, &mut self.unread.lock(), length)
    }

    /// One frame. `masked` says whether it must be (RFC 6455 section 5.1: a client's must). Of a frame that is
    /// refused, as much of the header is taken as it took to see that, as in the reference.
    pub fn read_frame(&self, masked: bool, limit: u64) -> Result<RawFrame, FrameReadError> {
        let stream = self.open().map_err(|source| FrameReadError::Io { wanted: 1, source })?;
        let mut unread = self.unread.lock();
        let header = loop {
            if unread.len() >= 2 && (unread[1] & 0x80 != 0) != masked {
                unread.advance(2);
                return Err(FrameReadError::WrongMasking);
            }
            let step = parse_header(&unread).map_err(|error| {
                unread.advance(LONG_LENGTH_END);
                FrameReadError::Length(error)
            })?;
            match step {
                HeaderStep::Done { header, length } => {
                    unread.advance(length);
                    break header;
                }
                HeaderStep::Need(total) => {
                    let wanted = (total - unread.len()) as u64;
                    read_ahead(&stream, &mut unread, wanted)?;
                }
            }
        };
        if header.payload_length > limit {
            return Err(FrameReadError::TooLarge);
        }
        let mut payload = read_payload(&stream, &mut unread, header.payload_length)?;
        if let Some(key) = header.mask {
            apply_mask(&mut payload, key, 0);
        }
        Ok(RawFrame { header, payload })
    }

    /// Writes `head` and `body` as one piece: no other thread's bytes come between.
    pub fn write(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let stream = self.open()?;
        let _turn = self.writing.lock();
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut rest = &mut parts[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match stream.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut rest, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends `bytes` without waiting for the peer. `false`: another thread is writing; later it may work.
    pub fn send_now(&self, bytes: &[u8]) -> bool {
        let Ok(stream) = self.open() else { return true };
        let Some(_turn) = self.writing.try_lock() else { return false };
        stream.send_now(bytes);
        true
    }

    /// Cuts the connection, both ways: threads that wait for it wake up. The descriptor stays until `close`.
    pub fn shut(&self) {
        if let Ok(stream) = self.open() {
            stream.shut();
        }
    }

    /// Ends the connection as pywebsocket's server does: no more sending, then the descriptor is closed (once
    /// the last call that uses it returns). Later calls fail with EBADF, never with another connection's
    /// descriptor.
    pub fn close(&self) {
        if let Some(stream) = self.stream.write().take() {
            stream.close();
        }
    }
}

fn read_retrying(stream: &Duplex, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Appends at least one byte to `unread`.
fn read_ahead(stream: &Duplex, unread: &mut BytesMut, wanted: u64) -> Result<(), FrameReadError> {
    let held = unread.len();
    unread.resize(held + READ_AHEAD, 0);
    let result = read_retrying(stream, &mut unread[held..]);
    unread.truncate(held + result.as_ref().copied().unwrap_or(0));
    match result {
        Ok(0) => Err(FrameReadError::Eof { wanted }),
        Ok(_) => Ok(()),
        Err(source) => Err(FrameReadError::Io { wanted, source }),
    }
}

/// `length` bytes: first those that were read ahead, then straight from the socket.
fn read_payload(stream: &Duplex, unread: &mut BytesMut, length: u64) -> Result<Vec<u8>, FrameReadError> {
    let reserve = usize::try_from(length.min(PAYLOAD_RESERVE)).unwrap_or(usize::MAX);
    let mut payload = Vec::with_capacity(reserve);
    let ahead = unread.len().min(usize::try_from(length).unwrap_or(usize::MAX));
    payload.extend_from_slice(&unread[..ahead]);
    unread.advance(ahead);
    let wanted = length - ahead as u64;
    if wanted > 0 {
        let result = stream.read_up_to(wanted, &mut payload);
        let missing = length - payload.len() as u64;
        match result {
            Err(source) => return Err(FrameReadError::Io { wanted: missing, source }),
            Ok(()) if missing > 0 => return Err(FrameReadError::Eof { wanted: missing }),
            Ok(()) => {}
        }
    }
    Ok(payload)
}
