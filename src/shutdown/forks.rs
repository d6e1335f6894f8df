//! What a forked child does with signals.

use super::signals;

/// Before a fork: signals wait, so that the child gets none before [`restore_in_child`].
pub fn before_fork() {
    signals::hold();
}

/// After a fork, in the parent.
pub fn after_fork() {
    signals::let_go();
}

/// Gives a child that was forked the signals as they were before [`Signals::take`](super::Signals::take): the thread that would look at them
/// is the parent's alone. To be called in the child; it takes no lock and no memory. A signal may end the child at once.
pub fn restore_in_child() {
    signals::give_back();
    signals::let_go();
}
