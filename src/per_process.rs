//! Values of which each process has one of its own: a forked child has none of the parent's other threads, and they may
//! hold its locks, and what they wait for does not come. `forks` lists all that are static.
//!
//! Must not import anything of this crate.

use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// How many forks made this process of the one that loaded this code.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The number that the system gave to this process; 0: children cannot be told from it yet.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A process, to be told from the children that it forks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// The one that runs this.
    #[must_use]
    pub fn this() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether that is the one that runs this, and not a child of it.
    #[must_use]
    pub fn is_this(self) -> bool {
        self == Self::this()
    }
}

/// This process is another one than so far.
pub(crate) fn begin() {
    if NUMBER.swap(std::process::id(), Ordering::Relaxed) != 0 {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether this process has what is its own. A child that was made past the C library's `fork` has not: all that it finds
/// is its parent's.
#[must_use]
pub fn is_set_up() -> bool {
    let number = NUMBER.load(Ordering::Relaxed);
    number == 0 || number == std::process::id()
}

/// A static value of which each child has one of its own.
pub struct PerProcess<T: Sync + 'static> {
    first: T,
    /// That of a child; null: it is the first.
    renewed: AtomicPtr<T>,
    make: fn() -> T,
}

impl<T: Sync> PerProcess<T> {
    /// Starts with `first`; children get what `make` makes.
    pub const fn new(first: T, make: fn() -> T) -> Self {
        Self { first, renewed: AtomicPtr::new(ptr::null_mut()), make }
    }

    /// The value of this process.
    pub fn get(&'static self) -> &'static T {
        // SAFETY: the pointer is null or that of a leaked box, and never written through.
        unsafe { self.renewed.load(Ordering::Acquire).as_ref() }.unwrap_or(&self.first)
    }

    /// Makes a new one. The old one is not dropped: a thread that the child does not have may use it.
    pub fn renew(&'static self) {
        self.renewed.store(Box::leak(Box::new((self.make)())), Ordering::Release);
    }
}

/// A value inside another one, which children inherit: each process has one of its own, made when it is asked for.
pub struct Inherited<T: Send + Sync> {
    first: (Process, ManuallyDrop<T>),
    /// That of a child; null: nobody asked for it.
    renewed: AtomicPtr<(Process, T)>,
    make: fn() -> T,
}

impl<T: Send + Sync> Inherited<T> {
    /// What `make` makes.
    pub fn new(make: fn() -> T) -> Self {
        Self {
            first: (Process::this(), ManuallyDrop::new(make())),
            renewed: AtomicPtr::new(ptr::null_mut()),
            make,
        }
    }

    /// The value of this process.
    #[inline]
    pub fn get(&self) -> &T {
        if self.first.0.is_this() { &self.first.1 } else { self.get_renewed() }
    }

    #[cold]
    fn get_renewed(&self) -> &T {
        let mut seen = self.renewed.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or a box that is freed in `drop` only, by the process that has made it.
            if let Some((process, value)) = unsafe { seen.as_ref() }
                && process.is_this()
            {
                return value;
            }
            let new = Box::into_raw(Box::new((Process::this(), (self.make)())));
            match self.renewed.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire) {
                // That of a parent is leaked.
                Ok(_) => seen = new,
                Err(other) => {
                    // SAFETY: just made, and nobody else has seen it.
                    drop(unsafe { Box::from_raw(new) });
                    seen = other;
                }
            }
        }
    }
}

impl<T: Send + Sync> Drop for Inherited<T> {
    /// What is a parent's stays: a thread that the child does not have may be using it.
    fn drop(&mut self) {
        if self.first.0.is_this() {
            // SAFETY: it is not used any more, and dropped once.
            unsafe { ManuallyDrop::drop(&mut self.first.1) };
        }
        let renewed = *self.renewed.get_mut();
        // SAFETY: null, or made from a box, and nobody else can see it any more.
        unsafe {
            if renewed.as_ref().is_some_and(|(process, _)| process.is_this()) {
                drop(Box::from_raw(renewed));
            }
        }
    }
}
