//! Waiting without the GIL.

use parking_lot::Mutex;
use pyo3::Python;

/// The gate before the GIL.
///
/// A thread that waits for the GIL asks for it every 5 ms. With hundreds of handler threads the process does
/// little else (measured in `docs/design.md`, "The gate"). So a thread that wants to re-attach first takes
/// this lock, still detached, and gives it up once it is attached: one thread asks for the GIL, the others
/// sleep without a timer. The lock is never held while Python code runs.
static GATE: Mutex<()> = Mutex::new(());

/// Runs `work`, which may wait (a system call, a lock), detached from Python, and attaches again through the
/// gate.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    let (value, turn) = py.detach(|| {
        let value = work();
        (value, GATE.lock())
    });
    drop(turn);
    value
}
