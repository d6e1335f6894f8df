//! Writing without waiting: a thread that writes to a descriptor what others put into its queue.
//!
//! Whoever reads the log or a trace may stop reading (a pipe, Ctrl-S on a terminal, a hung disk), and nobody else must
//! wait for that. The queue is bounded: when it is full, records are dropped and counted, and the count is written at
//! their place once writing goes on. The order of records stays, and each is one write.
//!
//! A child that is forked has no such thread, and a lock of a queue may be copied while it is held. So a child never
//! touches a queue of its parent: it writes itself, and waits for the reader for a moment only.
//! Must not import anything of this crate but `per_process`.

mod direct;
mod own_file;
mod queue;
mod target;

pub use direct::{Lines, write_all};
pub use own_file::OwnFile;
pub use queue::{Queue, Sink, flush, write_now};
pub use target::Target;

/// Tells this process, a forked child, that it has none of its parent's threads. Takes no lock.
pub fn renew_after_fork() {
    queue::renew_after_fork();
    direct::renew_after_fork();
}
