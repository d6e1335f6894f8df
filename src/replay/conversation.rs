//! One recorded connection, had again. Must not import anything but its neighbours.

use std::io;
use std::time::Instant;

use rustix::event::PollFlags;

use super::comparison::Comparison;
use super::recording::RecordedConnection;
use super::wire::Wire;

/// How much is read at once, in bytes.
const READ_SIZE: usize = 64 * 1024;

/// A connection to the server, and what it should say.
pub(super) struct Conversation<'r> {
    wire: Wire,
    pub(super) comparison: Comparison<'r>,
    /// How many of the recorded bytes the server should have sent by now.
    pub(super) awaited: usize,
    /// When the connection last got on.
    pub(super) heard: Instant,
    /// Why nothing more comes.
    ended: Option<String>,
    /// What is still to be sent.
    outgoing: &'r [u8],
    /// Nothing can be sent any more.
    is_broken: bool,
}

impl<'r> Conversation<'r> {
    pub(super) fn new(wire: Wire, recorded: &'r RecordedConnection) -> Self {
        Self {
            wire,
            comparison: Comparison::new(&recorded.sent),
            awaited: 0,
            heard: Instant::now(),
            ended: None,
            outgoing: &[],
            is_broken: false,
        }
    }

    /// Begins to send `bytes`. What was to be sent before must be gone.
    pub(super) fn send(&mut self, bytes: &'r [u8]) {
        if !self.is_broken {
            self.outgoing = bytes;
            self.write();
        }
    }

    /// Whether all is sent, or cannot be. A server that takes nothing more is told by what it says.
    pub(super) fn is_sent(&self) -> bool {
        self.is_broken || (self.outgoing.is_empty() && !self.wire.wants_flush())
    }

    /// Closes our side.
    pub(super) fn close(&mut self) {
        self.wire.close();
        self.is_broken = true;
    }

    /// Whether the server has said what it should have said by now.
    pub(super) fn is_answered(&self) -> bool {
        self.comparison.has(self.awaited)
    }

    /// Whether nothing that comes could change what is known: it differs, or it is over.
    pub(super) fn is_settled(&self) -> bool {
        self.comparison.difference().is_some() || self.ended.is_some()
    }

    /// What is wrong with it now that it is settled, or nothing has come for a time.
    pub(super) fn problem(&self) -> Option<String> {
        let differs = self.comparison.difference().map(str::to_owned);
        differs.or_else(|| {
            let ended = self.ended.as_deref().filter(|_| !self.is_answered());
            ended.map(|reason| self.comparison.missing(reason))
        })
    }

    /// What to wait for, and on what; `None`: for nothing.
    pub(super) fn interest(&self) -> Option<(&Wire, PollFlags)> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.reads());
        flags.set(PollFlags::OUT, !self.is_sent());
        (!flags.is_empty()).then_some((&self.wire, flags))
    }

    fn reads(&self) -> bool {
        self.ended.is_none() && self.comparison.wants_more()
    }

    /// Reads and writes what can be without waiting.
    pub(super) fn exchange(&mut self) {
        if self.reads() {
            self.read();
        }
        if !self.is_sent() {
            self.write();
        }
    }

    fn read(&mut self) {
        let mut buffer = vec![0; READ_SIZE];
        while self.reads() {
            match self.wire.read(&mut buffer) {
                Ok(0) => self.ended = Some("the end of the connection".to_owned()),
                Ok(count) => {
                    self.comparison.take(&buffer[..count]);
                    self.heard = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.ended = Some(error.to_string()),
            }
        }
    }

    fn write(&mut self) {
        while !self.is_sent() {
            match self.write_once() {
                Ok(()) => self.heard = Instant::now(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.is_broken = true,
            }
        }
    }

    fn write_once(&mut self) -> io::Result<()> {
        let count = self.wire.write(self.outgoing)?;
        self.outgoing = &self.outgoing[count..];
        self.wire.flush()
    }
}
