//! Waiting without the GIL.

use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;
use pyo3::Python;

/// The gate before the GIL.
///
/// A thread that waits for the GIL asks for it every 5 ms. With hundreds of handler threads the process does
/// little else (measured in `docs/design.md`, "The gate"). So a thread that wants to re-attach first takes
/// this lock, still detached, and gives it up once it is attached: one thread asks for the GIL, the others
/// sleep without a timer. The lock is never held while Python code runs.
///
/// A child of `fork` gets a new one: the old one may belong to a thread that the child does not have.
static GATE: AtomicPtr<Mutex<()>> = AtomicPtr::new((&raw const FIRST_GATE).cast_mut());

static FIRST_GATE: Mutex<()> = Mutex::new(());

/// Lets children that handlers fork have a gate of their own.
pub fn prepare_forks() {
    static ONCE: Once = Once::new();
    extern "C" fn in_child() {
        // One thread is left, and it runs Python code: nobody is at the old gate, and nobody frees it.
        GATE.store(Box::leak(Box::new(Mutex::new(()))), Ordering::Release);
    }
    // SAFETY: `in_child` may run in any thread that forks. It allocates, which glibc allows in a child, and takes
    // no lock. Without memory for the registration, forks are as they were.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}

fn gate() -> &'static Mutex<()> {
    // SAFETY: the pointer is that of a static or of a leaked box, and never written through.
    unsafe { &*GATE.load(Ordering::Acquire) }
}

/// Runs `work` attached to Python on a thread that is not, through the gate.
pub fn attached<T>(work: impl FnOnce(Python<'_>) -> T) -> T {
    let turn = gate().lock();
    Python::attach(|py| {
        drop(turn);
        work(py)
    })
}

/// Runs `work`, which may wait (a system call, a lock), detached from Python, and attaches again through the
/// gate.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    let (value, turn) = py.detach(|| {
        let value = work();
        (value, gate().lock())
    });
    drop(turn);
    value
}
