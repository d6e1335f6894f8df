//! The main thread, which loads handler files while it has nothing else to do.
//!
//! Some files may be loaded there only (`signal.signal` and `asyncio.get_event_loop` at import), and all are at the
//! start. Must not import pyo3 or tokio.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::deadline;

/// Something to do.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// What the main thread is given to do.
#[derive(Default)]
pub struct MainThread {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether it waits for something to do.
    waits: bool,
    job: Option<Job>,
    is_over: bool,
    /// Whether it does this no more.
    is_back: bool,
}

impl MainThread {
    /// Does what it is given, until [`Self::end`]. For the main thread.
    pub fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.job.take() {
                drop(state);
                job();
                state = self.state.lock();
            } else if state.is_over {
                state.is_back = true;
                self.changed.notify_all();
                return;
            } else {
                state.waits = true;
                self.changed.wait(&mut state);
            }
        }
    }

    /// Lets the main thread come back from [`Self::work`], when it has done what it does. `false`: it does not within
    /// `patience`.
    #[must_use]
    pub fn end(&self, patience: Duration) -> bool {
        let deadline = deadline::after(patience);
        let mut state = self.state.lock();
        state.is_over = true;
        self.changed.notify_all();
        while !state.is_back {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return state.is_back;
            }
        }
        true
    }

    /// Gives it something to do; gives it back if it is busy.
    pub(super) fn give(&self, job: Job) -> Result<(), Job> {
        let mut state = self.state.lock();
        if !state.waits || state.is_over {
            return Err(job);
        }
        state.waits = false;
        state.job = Some(job);
        self.changed.notify_all();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;

    use super::super::testing::TEST_LIMIT;
    use super::*;

    #[test]
    fn does_one_thing_at_a_time_and_gives_the_others_back() {
        let main = Arc::new(MainThread::default());
        assert!(main.give(Box::new(|| {})).is_err(), "it does not wait yet");
        let worker = Arc::clone(&main);
        let thread = thread::spawn(move || worker.work());
        let (began, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let mut job: Job = Box::new(move || {
            began.send(thread::current().id()).unwrap();
            ends.recv().unwrap();
        });
        while let Err(back) = main.give(job) {
            job = back;
            thread::yield_now();
        }
        assert_eq!(begins.recv_timeout(TEST_LIMIT).unwrap(), thread.thread().id());
        assert!(main.give(Box::new(|| panic!("it is busy"))).is_err());
        assert!(!main.end(Duration::ZERO), "it is busy");
        end.send(()).unwrap();
        assert!(main.end(TEST_LIMIT));
        thread.join().unwrap();
        assert!(main.give(Box::new(|| {})).is_err(), "it is over");
    }
}
