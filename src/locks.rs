//! The rule that no lock is held while Python code runs, checked in debug builds.
//!
//! Code that runs under a lock of ours may come back for it, and threads that wait for it attached to Python stop all
//! handlers. Python code may run wherever Python is called, an object is asked for something, or the last reference to one
//! is dropped; and other threads run it while this one is detached.
//!
//! A [`Lock`] is held for moments, so it may be waited for attached. What is held for as long as a peer likes is a turn
//! ([`Turn`]): it is waited for detached only, may be kept while its thread is detached, and must not be kept while the
//! objects of handlers are asked.

use std::ops::{Deref, DerefMut};

use parking_lot::{Mutex, MutexGuard};

#[cfg(debug_assertions)]
mod count {
    use std::cell::Cell;

    thread_local! {
        pub(super) static LOCKS: Cell<usize> = const { Cell::new(0) };
        pub(super) static TURNS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn add(to: &'static std::thread::LocalKey<Cell<usize>>, number: isize) {
        // A thread that ends has none left to count.
        let _ = to.try_with(|count| count.set(count.get().wrapping_add_signed(number)));
    }
}

/// Says that Python code may run from here on, in this thread or, while it is detached, in others.
///
/// # Panics
///
/// In debug builds, when this thread holds a [`Lock`].
#[inline]
#[track_caller]
pub fn none_is_held() {
    #[cfg(debug_assertions)]
    assert_eq!(count::LOCKS.get(), 0, "a lock is held while Python code may run");
}

/// Says that an object of a handler is asked for something here.
///
/// # Panics
///
/// In debug builds, when this thread holds a [`Lock`] or has a [`Turn`].
#[inline]
#[track_caller]
pub fn handlers_code_may_run() {
    none_is_held();
    #[cfg(debug_assertions)]
    assert_eq!(count::TURNS.get(), 0, "a connection is kept from others while a handler's code may run");
}

/// A mutex that is held for moments, and never while Python code runs.
#[derive(Default)]
pub struct Lock<T>(Mutex<T>);

/// The value of a [`Lock`], for its owner.
pub struct Held<'a, T>(MutexGuard<'a, T>);

impl<T> Lock<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Waits for it.
    pub fn lock(&self) -> Held<'_, T> {
        Held::of(self.0.lock())
    }

    /// `None`: somebody else has it.
    pub fn try_lock(&self) -> Option<Held<'_, T>> {
        self.0.try_lock().map(Held::of)
    }
}

impl<'a, T> Held<'a, T> {
    /// For a `Condvar` to wait with, detached from Python.
    pub fn guard(&mut self) -> &mut MutexGuard<'a, T> {
        &mut self.0
    }

    fn of(guard: MutexGuard<'a, T>) -> Self {
        #[cfg(debug_assertions)]
        count::add(&count::LOCKS, 1);
        Self(guard)
    }
}

#[cfg(debug_assertions)]
impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        count::add(&count::LOCKS, -1);
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A turn that threads wait for, one after the other. To be waited for detached only.
#[derive(Default)]
pub struct Turns(Mutex<()>);

impl Turns {
    /// Waits for the turn.
    pub fn take(&self) -> TurnKept<'_> {
        TurnKept { _guard: self.0.lock(), _turn: Turn::begin() }
    }
}

/// The turn of one thread, until it is dropped.
pub struct TurnKept<'a> {
    _guard: MutexGuard<'a, ()>,
    _turn: Turn,
}

/// That this thread keeps a connection from others. It stays on its thread.
pub struct Turn(());

impl Turn {
    /// The turn begins; it ends when this is dropped.
    #[must_use]
    pub fn begin() -> Self {
        #[cfg(debug_assertions)]
        count::add(&count::TURNS, 1);
        Self(())
    }
}

#[cfg(debug_assertions)]
impl Drop for Turn {
    fn drop(&mut self) {
        count::add(&count::TURNS, -1);
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    fn panics(check: fn()) -> bool {
        std::panic::catch_unwind(check).is_err()
    }

    #[test]
    fn what_is_held_is_noticed_until_it_is_not() {
        let (first, second) = (Lock::new(1), Lock::new(2));
        assert!(!panics(none_is_held) && !panics(handlers_code_may_run));
        let held = (first.lock(), second.try_lock());
        assert!(first.try_lock().is_none() && panics(none_is_held) && panics(handlers_code_may_run));
        assert!(!std::thread::spawn(|| panics(none_is_held)).join().unwrap());
        drop(held);
        assert!(!panics(none_is_held));
        let turn = Turn::begin();
        assert!(!panics(none_is_held) && panics(handlers_code_may_run));
        drop(turn);
        assert!(!panics(handlers_code_may_run));
    }
}
