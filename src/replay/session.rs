//! All connections of a recording, had again in the order of its times. Must not import anything but its
//! neighbours and `deadline`.
//!
//! One thread serves them all: what was recorded is one order of events, and handlers that pass messages on between
//! connections answer as they did only in that order.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

use super::conversation::Conversation;
use super::error::{ConnectError, ReplayError};
use super::recording::{Event, Recording, Step};
use super::wire::Target;
use crate::deadline;

/// The longest pause that is kept: a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// What became of a connection: how many bytes were received, or where it went wrong.
pub(super) type Verdict = Result<usize, Failure>;

/// Why a connection did not go as it was recorded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server is not there any more.
    #[error(transparent)]
    Unconnected(ConnectError),
    /// The server said something else, or too little: where, and what.
    #[error("{0}")]
    Differs(String),
}

/// How to have them again.
pub(super) struct Manner {
    /// Only this connection (an index).
    pub(super) only: Option<usize>,
    /// Keep the recorded pauses.
    pub(super) timing: bool,
    /// How long a connection may get on in nothing.
    pub(super) limit: Duration,
}

/// Connections that are had again.
pub(super) struct Session<'r, F> {
    recording: &'r Recording,
    target: &'r Target,
    manner: &'r Manner,
    /// Those that are open, by index.
    open: BTreeMap<usize, Conversation<'r>>,
    /// Told what became of the connection of this index.
    report: F,
    has_connected: bool,
}

impl<'r, F: FnMut(usize, Verdict)> Session<'r, F> {
    pub(super) fn new(recording: &'r Recording, target: &'r Target, manner: &'r Manner, report: F) -> Self {
        Self { recording, target, manner, open: BTreeMap::new(), report, has_connected: false }
    }

    /// Does everything that was recorded. An error: there is nobody to connect to.
    pub(super) fn run(mut self) -> Result<(), ReplayError> {
        let mut before = None;
        for step in &self.recording.steps {
            if self.manner.only.is_some_and(|only| only != step.connection) {
                continue;
            }
            if let Event::Out(count) = step.event {
                if let Some(conversation) = self.open.get_mut(&step.connection) {
                    conversation.awaited += count;
                }
            } else {
                self.settle();
                // There is no need to wait for the next run of a server.
                if let Some(before) = before.filter(|_| self.manner.timing && !self.open.is_empty()) {
                    self.pause(Duration::try_from(step.time - before).unwrap_or_default())?;
                }
                self.act(step)?;
            }
            before = Some(step.time);
        }
        // Those whose end is not recorded.
        self.settle();
        while let Some((&index, _)) = self.open.first_key_value() {
            self.finish(index);
        }
        Ok(())
    }

    fn act(&mut self, step: &'r Step) -> Result<(), ReplayError> {
        let index = step.connection;
        if matches!(step.event, Event::Open) {
            return self.connect(index);
        }
        // One that has gone wrong is not there any more.
        let Some(conversation) = self.open.get_mut(&index) else { return Ok(()) };
        match &step.event {
            Event::In(bytes) => {
                conversation.send(bytes);
                self.wait(|_, conversation| conversation.is_sent());
            }
            Event::Eof => conversation.close(),
            Event::End => self.finish(index),
            Event::Open | Event::Out(_) => {}
        }
        Ok(())
    }

    fn connect(&mut self, index: usize) -> Result<(), ReplayError> {
        match self.target.connect() {
            Ok(wire) => {
                self.has_connected = true;
                self.open.insert(index, Conversation::new(wire, &self.recording.connections[index]));
            }
            Err(problem) if self.has_connected => (self.report)(index, Err(Failure::Unconnected(problem))),
            Err(problem) => return Err(ReplayError::NoServer(problem)),
        }
        Ok(())
    }

    /// Waits until every server has said what it should have said by now; those that do not are done with.
    fn settle(&mut self) {
        self.wait(|_, conversation| conversation.is_answered() || conversation.is_settled());
        let problems: Vec<_> = self
            .open
            .iter()
            .filter_map(|(&index, conversation)| Some((index, conversation.problem()?)))
            .collect();
        for (index, problem) in problems {
            self.fail(index, problem);
        }
    }

    /// Ends a connection whose server has said everything.
    fn finish(&mut self, index: usize) {
        let is_whole = self.recording.connections[index].is_whole;
        if is_whole {
            self.wait(|other, conversation| {
                other != index || conversation.is_settled() || conversation.comparison.surplus().is_some()
            });
        }
        // Silence may have ended it.
        let Some(conversation) = self.open.remove(&index) else { return };
        let surplus = || conversation.comparison.surplus().filter(|_| is_whole);
        let verdict = match conversation.problem().or_else(surplus) {
            Some(problem) => Err(Failure::Differs(problem)),
            None => Ok(conversation.comparison.received()),
        };
        (self.report)(index, verdict);
    }

    fn fail(&mut self, index: usize, problem: String) {
        self.open.remove(&index);
        (self.report)(index, Err(Failure::Differs(problem)));
    }

    /// Waits until `is_done` holds for all connections and their indices. Those that do not get on are done with.
    fn wait(&mut self, is_done: impl Fn(usize, &Conversation<'r>) -> bool) {
        let begin = Instant::now();
        let limit = self.manner.limit;
        loop {
            let waiting = self.open.iter().filter(|(index, conversation)| !is_done(**index, conversation));
            let first = waiting.min_by_key(|(_, conversation)| conversation.heard);
            let Some((&index, conversation)) = first else { return };
            let left = limit.saturating_sub(conversation.heard.max(begin).elapsed());
            if left.is_zero() {
                let silence = format!("nothing more within {} s", limit.as_secs_f64());
                let problem = conversation.comparison.missing(&silence);
                self.fail(index, problem);
            } else {
                self.exchange(left);
            }
        }
    }

    /// Lets time pass.
    fn pause(&mut self, time: Duration) -> Result<(), ReplayError> {
        if time > LONGEST_PAUSE {
            let (pause, most) = (time.as_secs(), LONGEST_PAUSE.as_secs());
            return Err(ReplayError::Pause { pause, most });
        }
        let end = deadline::after(time);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.exchange(left);
        }
    }

    /// Reads and writes where that is possible, as soon as it is; `limit`: how long to wait for that.
    fn exchange(&mut self, limit: Duration) {
        let mut polled: Vec<PollFd<'_>> = Vec::new();
        let mut indices = Vec::new();
        for (&index, conversation) in &self.open {
            if let Some((wire, flags)) = conversation.interest() {
                polled.push(PollFd::from_borrowed_fd(wire.descriptor(), flags));
                indices.push(index);
            }
        }
        let limit = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 1 << 20, tv_nsec: 0 });
        if let Err(error) = poll(&mut polled, Some(&limit)) {
            // Out of memory, if anything: tried again, but not at once.
            if error != Errno::INTR {
                thread::sleep(Duration::from_millis(10));
            }
            return;
        }
        let ready: Vec<_> = polled.iter().map(|socket| !socket.revents().is_empty()).collect();
        for (index, _) in indices.into_iter().zip(ready).filter(|(_, is_ready)| *is_ready) {
            if let Some(conversation) = self.open.get_mut(&index) {
                conversation.exchange();
            }
        }
    }
}
