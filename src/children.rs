//! The process groups of CGI scripts, so that they end with the server, whichever way that ends.
//!
//! A list without locks: [`kill_all`] may be called while any other thread is anywhere. Each entry names the process
//! that it belongs to, so a forked child has an empty list. Must not import anything of this crate.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, kill_process_group, test_kill_process, test_kill_process_group};

/// How many groups are known: those of scripts that run, and those that scripts have left behind.
const SLOTS: usize = 1024;
/// Linux has no larger numbers of processes than fit into these.
const PID_BITS: u32 = 22;

static GROUPS: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];

/// What stands in a slot; all zeros: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// The process that has started the script.
    process: u32,
    /// Its server, out of several in one process.
    owner: Owner,
    /// The group's number.
    group: u32,
    /// Whether the script has ended and what it started goes on.
    is_left: bool,
}

impl Entry {
    fn pack(self) -> u64 {
        let low =
            u64::from(self.is_left) | u64::from(self.group) << 1 | u64::from(self.process) << (1 + PID_BITS);
        low | u64::from(self.owner.0) << (1 + 2 * PID_BITS)
    }

    fn unpack(packed: u64) -> Self {
        let pid = |shift: u32| u32::try_from(packed >> shift & ((1 << PID_BITS) - 1)).unwrap_or_default();
        let owner = Owner(u32::try_from(packed >> (1 + 2 * PID_BITS)).unwrap_or_default());
        Self { process: pid(1 + PID_BITS), owner, group: pid(1), is_left: packed & 1 == 1 }
    }

    /// Whether there is a process of the group.
    fn is_there(self) -> bool {
        let Some(group) = pid(self.group) else { return false };
        // The number of a group that lost its leader is nobody's while the group lives.
        let has_new_leader = self.is_left && test_kill_process(group) != Err(Errno::SRCH);
        !has_new_leader && test_kill_process_group(group) != Err(Errno::SRCH)
    }

    fn send(self, signal: Signal) {
        if let Some(group) = pid(self.group).filter(|_| self.is_there()) {
            // An error: it has just ended, or it is another user's, as setuid programs are.
            let _ = kill_process_group(group, signal);
        }
    }
}

fn pid(number: u32) -> Option<Pid> {
    // 1 is not a script, and would mean all processes.
    i32::try_from(number).ok().filter(|number| *number > 1).and_then(Pid::from_raw)
}

/// This process's number.
fn process() -> u32 {
    getpid().as_raw_nonzero().get().unsigned_abs()
}

/// A server, for those who end what is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(u32);

impl Owner {
    /// One that differs from the others.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed) & ((1 << (63 - 2 * PID_BITS)) - 1))
    }

    /// Sends `signal` to the groups of this server's scripts, and to what scripts have left behind in theirs.
    pub fn send(self, signal: Signal) {
        self.entries().for_each(|entry| entry.send(signal));
    }

    /// Whether there is any such group.
    #[must_use]
    pub fn has_any(self) -> bool {
        self.entries().any(Entry::is_there)
    }

    fn entries(self) -> impl Iterator<Item = Entry> {
        entries().filter(move |entry| entry.owner == self)
    }
}

impl Default for Owner {
    fn default() -> Self {
        Self::new()
    }
}

/// Ends all scripts of this process and what they have started, without waiting for anything, before the process
/// ends at once.
pub fn kill_all() {
    entries().for_each(|entry| entry.send(Signal::KILL));
}

/// What this process has in the list.
fn entries() -> impl Iterator<Item = Entry> {
    let process = process();
    let all = GROUPS.iter().map(|slot| Entry::unpack(slot.load(Ordering::Acquire)));
    all.filter(move |entry| entry.process == process)
}

/// The process group of a script. When this is dropped, what is left of the group is remembered.
#[derive(Debug)]
pub struct Group {
    entry: Entry,
    /// `None`: the list was full.
    slot: Option<&'static AtomicU64>,
}

impl Group {
    /// The group `number`, whose leader was just started and not waited for.
    #[must_use]
    pub fn new(owner: Owner, number: u32) -> Self {
        let process = process();
        let entry = Entry { process, owner, group: number, is_left: false };
        let take = |slot: &&'static AtomicU64| {
            let packed = slot.load(Ordering::Acquire);
            let old = Entry::unpack(packed);
            let is_free = packed == 0 || old.process != process || (old.is_left && !old.is_there());
            is_free
                && slot.compare_exchange(packed, entry.pack(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        Self { entry, slot: GROUPS.iter().find(take) }
    }

    /// Sends `signal` to all of it.
    pub fn send(&self, signal: Signal) {
        self.entry.send(signal);
    }

    /// Whether any process of it is there, a dead one that nobody has waited for included.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.entry.is_there()
    }

    /// The leader has ended and was waited for.
    pub fn forget_leader(&mut self) {
        self.entry.is_left = true;
        if let Some(slot) = self.slot {
            slot.store(self.entry.pack(), Ordering::Release);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.filter(|_| !self.is_there()) {
            slot.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("1000").process_group(0).spawn().expect("sleep")
    }

    #[test]
    fn entries_are_what_was_packed() {
        for (process, owner, group, is_left) in
            [(1, 0, 2, false), ((1 << 22) - 1, (1 << 19) - 1, (1 << 22) - 1, true), (5, 6, 7, true)]
        {
            let entry = Entry { process, owner: Owner(owner), group, is_left };
            assert_eq!(Entry::unpack(entry.pack()), entry);
        }
    }

    #[test]
    fn a_server_ends_its_own_only() {
        let (owner, other) = (Owner::new(), Owner::new());
        let (mut one, mut two) = (sleeper(), sleeper());
        let (mut first, mut second) = (Group::new(owner, one.id()), Group::new(other, two.id()));
        assert!(owner.has_any());
        owner.send(Signal::KILL);
        one.wait().expect("its end");
        first.forget_leader();
        drop(first);
        assert!(!owner.has_any(), "nothing is left");
        assert!(second.is_there());
        assert!(other.has_any());
        other.send(Signal::KILL);
        two.wait().expect("its end");
        second.forget_leader();
        assert!(!second.is_there());
    }

    #[test]
    fn what_is_left_behind_is_remembered() {
        let owner = Owner::new();
        let mut leader = sleeper();
        let mut group = Group::new(owner, leader.id());
        let mut left = Command::new("sleep")
            .arg("1000")
            .process_group(i32::try_from(leader.id()).expect("a number"))
            .spawn()
            .expect("sleep");
        leader.kill().expect("killed");
        leader.wait().expect("its end");
        group.forget_leader();
        drop(group);
        assert!(owner.has_any());
        owner.send(Signal::KILL);
        left.wait().expect("its end");
        assert!(!owner.has_any());
    }

    #[test]
    fn what_belongs_to_another_process_is_left_alone() {
        let mut child = sleeper();
        let owner = Owner::new();
        let group = Group::new(owner, child.id());
        // As a forked child of this process sees it.
        let foreign = Entry { process: process() + 1, ..group.entry };
        group.slot.expect("room").store(foreign.pack(), Ordering::Release);
        assert!(!owner.has_any());
        owner.send(Signal::KILL);
        assert_eq!(child.try_wait().expect("its state"), None);
        child.kill().expect("killed");
        child.wait().expect("its end");
    }
}
