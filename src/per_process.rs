//! A value of which each process has one of its own: a forked child has none of the parent's other threads, and they
//! may hold its locks. `forks` lists all of them.
//!
//! Must not import anything of this crate.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A value of which each child has one of its own.
pub struct PerProcess<T: Sync + 'static> {
    current: AtomicPtr<T>,
    make: fn() -> T,
}

impl<T: Sync> PerProcess<T> {
    /// Starts with `first`; children get what `make` makes.
    pub const fn new(first: &'static T, make: fn() -> T) -> Self {
        Self { current: AtomicPtr::new(ptr::from_ref(first).cast_mut()), make }
    }

    /// The value of this process.
    pub fn get(&self) -> &'static T {
        // SAFETY: the pointer is that of a static or of a leaked box, and never written through.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// Makes a new one. The old one is not freed: a thread that the child does not have may use it.
    pub fn renew(&self) {
        self.current.store(Box::leak(Box::new((self.make)())), Ordering::Release);
    }
}
