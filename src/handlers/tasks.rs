//! Loads files on threads of their own, one after the other, so that one whose code does not come back holds up
//! nobody else.
//!
//! A batch is worked off by one thread: the main thread, if it has nothing else to do, or one named `wsh-load`. When a load takes longer than [`SET_ASIDE_AFTER`], the batch goes
//! on without it on another thread; what it gives in the end comes later. Must not import pyo3 or tokio.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::main_thread::{Job, MainThread};

/// How long the others wait for one load. Imports take milliseconds; what needs longer most likely waits for
/// something.
pub(super) const SET_ASIDE_AFTER: Duration = Duration::from_millis(200);

/// Something that may take long; `path` names it.
pub(super) struct Task<T> {
    pub(super) path: PathBuf,
    pub(super) run: Box<dyn FnOnce() -> T + Send>,
}

/// What came of a batch.
pub(super) struct Outcome<T> {
    /// What is done, each with its path.
    pub(super) done: Vec<(PathBuf, T)>,
    /// Those that run on. Each is given to the batch's `late` once it is done.
    pub(super) late: BTreeSet<PathBuf>,
}

struct Batch<T> {
    state: Mutex<State<T>>,
    progress: Condvar,
}

struct State<T> {
    queue: VecDeque<Task<T>>,
    /// Number of the thread that takes from the queue.
    worker: usize,
    running: Option<(PathBuf, Instant)>,
    late: BTreeSet<PathBuf>,
    done: Vec<(PathBuf, T)>,
    /// Whether somebody waits for `done`.
    open: bool,
}

/// Works off `tasks` in their order. Each that does not come back in time is passed to `late` by its thread.
/// An error: no thread could be had; nothing more of the batch runs.
pub(super) fn run<T: Send + 'static>(
    tasks: Vec<Task<T>>,
    main: Option<&MainThread>,
    late: impl Fn(PathBuf, T) + Send + Sync + 'static,
) -> io::Result<Outcome<T>> {
    let batch = Arc::new(Batch {
        state: Mutex::new(State {
            queue: tasks.into(),
            worker: 0,
            running: None,
            late: BTreeSet::new(),
            done: Vec::new(),
            open: true,
        }),
        progress: Condvar::new(),
    });
    let late = Arc::new(late);
    let mut started = None;
    let mut state = batch.state.lock();
    loop {
        match &state.running {
            None if state.queue.is_empty() => break,
            Some((path, since)) if since.elapsed() >= SET_ASIDE_AFTER => {
                let path = path.clone();
                state.late.insert(path);
                state.running = None;
                state.worker += 1;
            }
            Some((_, since)) => {
                let until = *since + SET_ASIDE_AFTER;
                batch.progress.wait_until(&mut state, until);
            }
            None if started == Some(state.worker) => batch.progress.wait(&mut state),
            None => {
                let number = state.worker;
                started = Some(number);
                let (batch, late) = (Arc::clone(&batch), Arc::clone(&late));
                let job: Job = Box::new(move || work(&batch, number, &*late));
                let refused = match main {
                    Some(main) => main.give(job).err(),
                    None => Some(job),
                };
                if let Some(job) = refused {
                    let thread = thread::Builder::new().name("wsh-load".to_owned());
                    thread.stack_size(STACK_SIZE).spawn(job)?;
                }
            }
        }
    }
    state.open = false;
    Ok(Outcome { done: mem::take(&mut state.done), late: mem::take(&mut state.late) })
}

/// As much as Python gives its own threads; untouched pages cost nothing.
const STACK_SIZE: usize = 8 << 20;

fn work<T>(batch: &Batch<T>, number: usize, late: &dyn Fn(PathBuf, T)) {
    let mut state = batch.state.lock();
    while state.worker == number {
        let Some(task) = state.queue.pop_front() else { break };
        state.running = Some((task.path.clone(), Instant::now()));
        batch.progress.notify_all();
        drop(state);
        let result = (task.run)();
        state = batch.state.lock();
        if !state.open {
            drop(state);
            late(task.path, result);
            return;
        }
        state.late.remove(&task.path);
        state.done.push((task.path, result));
        if state.worker == number {
            state.running = None;
        }
        batch.progress.notify_all();
    }
}
