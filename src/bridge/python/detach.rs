//! Waiting without the GIL.

use std::hint;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use pyo3::Python;

use crate::locks;
use crate::per_process::{PerProcess, Process};
use crate::shutdown::exit_at_once;

/// How long a thread at the gate looks whether Python is free before it sleeps: about twice what a handler takes to
/// echo a short message. To sleep and to be woken on another processor takes longer than that.
const LOOKING_TIME: Duration = Duration::from_micros(20);

/// The gate before the GIL.
///
/// A thread that waits for the GIL asks for it every 5 ms. With hundreds of handler threads the process does
/// little else (measured in `docs/design.md`, "The gate"). So a thread that wants to re-attach first takes
/// this lock, still detached, and gives it up once it is attached: one thread asks for the GIL, the others
/// sleep without a timer. The lock is never held while Python code runs.
pub(crate) static GATE: PerProcess<Mutex<()>> = PerProcess::new(Mutex::new(()), || Mutex::new(()));

/// Whether a thread that came through the gate has Python now. Only a hint: one whose handler waits in a call of
/// Python's own still counts.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// With one processor nobody gives anything up while a thread looks.
pub(crate) static MAY_LOOK: LazyLock<bool> =
    LazyLock::new(|| thread::available_parallelism().is_ok_and(|count| count.get() > 1));

/// Waits for a turn to ask for the GIL, and a moment for the thread that has it: it is likely to give it up soon.
fn take_turn() -> MutexGuard<'static, ()> {
    let turn = GATE.get().lock();
    if IS_TAKEN.load(Ordering::Relaxed) && *MAY_LOOK {
        let begin = Instant::now();
        while IS_TAKEN.load(Ordering::Relaxed) && begin.elapsed() < LOOKING_TIME {
            hint::spin_loop();
        }
    }
    turn
}

/// Runs `work`, which calls Python code, on a thread of ours. A child that the code has forked and that comes back from it
/// ends here: what would follow is its parent's.
pub fn in_one_process<T>(work: impl FnOnce() -> T) -> T {
    let process = Process::this();
    let value = work();
    if !process.is_this() {
        exit_at_once(0);
    }
    value
}

/// Runs `work` attached to Python on a thread that is not, through the gate.
pub fn attached<T>(work: impl FnOnce(Python<'_>) -> T) -> T {
    locks::none_is_held();
    let turn = take_turn();
    let value = Python::attach(|py| {
        IS_TAKEN.store(true, Ordering::Relaxed);
        drop(turn);
        work(py)
    });
    IS_TAKEN.store(false, Ordering::Relaxed);
    value
}

/// Runs `work`, which may wait (a system call, a lock), detached from Python, and attaches again through the
/// gate.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    locks::none_is_held();
    let (value, turn) = py.detach(|| {
        IS_TAKEN.store(false, Ordering::Relaxed);
        let value = work();
        locks::none_is_held();
        (value, take_turn())
    });
    IS_TAKEN.store(true, Ordering::Relaxed);
    drop(turn);
    value
}
