//! What a response carries: bytes in memory, or a part of a file that is read while it is sent.
//!
//! Must not import pyo3.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;

/// How much of a file is read at once, and so held for a client that does not take it, in bytes.
const CHUNK: u64 = 64 * 1024;

/// A body of a known length.
#[derive(Debug, Default)]
pub struct Body {
    /// Its beginning.
    start: Bytes,
    /// What comes after that.
    rest: Option<Part>,
}

/// Bytes of a file that are still to be read.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Body {
    /// The bytes `range` of `file`, the first of which are read at once. Waits for the file system.
    pub fn part_of(file: File, range: RangeInclusive<u64>) -> io::Result<Self> {
        let mut part = Part { file: Arc::new(file), at: *range.start(), end: range.end().saturating_add(1) };
        let start = part.read()?;
        Ok(Self { start, rest: Some(part).filter(|part| part.at < part.end) })
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.start.len() as u64 + self.rest.as_ref().map_or(0, |part| part.end - part.at)
    }

    /// The next bytes of it; empty at the end. What the file has lost meanwhile is missing, and then that is the end.
    pub async fn next(&mut self) -> io::Result<Bytes> {
        if !self.start.is_empty() {
            return Ok(std::mem::take(&mut self.start));
        }
        let Some(mut part) = self.rest.take() else { return Ok(Bytes::new()) };
        // File system calls wait, so they do not run on a thread that serves others.
        let read = move || part.read().map(|bytes| (bytes, part));
        let (bytes, part) = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        self.rest = Some(part).filter(|part| part.at < part.end && !bytes.is_empty());
        Ok(bytes)
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self { start: bytes.into(), rest: None }
    }
}

impl Part {
    fn read(&mut self) -> io::Result<Bytes> {
        let count = usize::try_from((self.end - self.at).min(CHUNK)).unwrap_or_default();
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            let at = self.at + bytes.len() as u64;
            let room = || rustix::io::pread(&*self.file, spare_capacity(&mut bytes), at);
            if rustix::io::retry_on_intr(room)? == 0 {
                break;
            }
        }
        bytes.truncate(count);
        self.at += bytes.len() as u64;
        Ok(bytes.into())
    }
}
