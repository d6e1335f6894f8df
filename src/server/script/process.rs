//! The process of a script, with all that it has started.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::children::{Group, Owner};

/// How long a script may take to end by itself once it was asked to with SIGTERM; then it gets SIGKILL.
pub const ASKED_TIME: Duration = Duration::from_millis(500);
/// How often a process group is looked at, whose end nobody tells.
const LOOK_TIME: Duration = Duration::from_millis(5);

/// A process that is ended, with its whole group, when this is dropped, and never left as a zombie.
pub(super) struct Process {
    child: Child,
    /// Its process group.
    group: Option<Group>,
    /// How it ended, once it did.
    status: Option<ExitStatus>,
}

impl Process {
    /// The process `child`, a script of `owner` that has just started.
    pub(super) fn new(child: Child, owner: Owner) -> Self {
        let group = child.id().map(|number| Group::new(owner, number));
        Self { child, group, status: None }
    }

    /// How it ended, once it did.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Waits for the end. May be cancelled.
    pub(super) async fn wait(&mut self) -> io::Result<()> {
        self.status = Some(self.child.wait().await?);
        if let Some(group) = &mut self.group {
            group.forget_leader();
        }
        Ok(())
    }

    /// Ends the process if it still runs, and all of its group then. Returns how it ended by itself.
    pub(super) async fn end(mut self) -> Option<ExitStatus> {
        if self.status.is_some() {
            return self.status;
        }
        self.send(Signal::TERM);
        let ended = async {
            // An error: it is not there any more.
            let _ = self.wait().await;
            while self.group.as_ref().is_some_and(Group::is_there) {
                sleep(LOOK_TIME).await;
            }
        };
        if timeout(ASKED_TIME, ended).await.is_err() {
            self.send(Signal::KILL);
            if self.status.is_none() {
                let _ = self.wait().await;
            }
        }
        None
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = &self.group {
            group.send(signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        self.send(Signal::KILL);
        // Only the end of the server comes here with a process that runs. It was killed, so it takes no time,
        // and later nobody may be there to wait for it.
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
