//! Waiting for a system call that may never come back, such as reading a file on a dead mount, in somebody else's
//! program: Ctrl-C ends the wait, as it ends Python's own.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

use crate::bridge::python::detach::detached;

/// How often it is asked whether Python has a signal for this thread.
const PERIOD: Duration = Duration::from_millis(50);

/// Runs `work` on a thread of its own and gives what it gives; detached from Python meanwhile. Raises what a signal
/// handler of Python raises, such as `KeyboardInterrupt`, and leaves `work` behind then.
pub fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (told, mut answer) = channel();
    let run = move || {
        // An error: nobody waits any longer.
        let _ = told.send(work());
    };
    let thread = thread::Builder::new().name("wshost-wait".to_owned()).spawn(run)?;
    loop {
        let answer = &mut answer;
        match detached(py, move || answer.recv_timeout(PERIOD)) {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            // It has panicked. (Otherwise it would have told.)
            Err(RecvTimeoutError::Disconnected) => {
                let panic = detached(py, || thread.join()).err().unwrap_or_else(|| Box::new("no answer"));
                resume_unwind(panic)
            }
        }
    }
}
