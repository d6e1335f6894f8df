//! What a child that a handler forks gets anew: it has none of the server's other threads, and they may hold locks.

use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::socket::cork;
use super::{detach, threads};

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
    fn renew(&self) {
        self.current.store(Box::leak(Box::new((self.make)())), Ordering::Release);
    }
}

/// From now on children get their own.
pub fn prepare() {
    static ONCE: Once = Once::new();
    extern "C" fn in_child() {
        detach::GATE.renew();
        threads::THREADS.renew();
        cork::CORKED.renew();
    }
    // SAFETY: `in_child` may run in any thread that forks. It allocates, which glibc allows in a child, and takes
    // no lock. Without memory for the registration, forks are as they were.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}
