//! The signals that the server takes, and how they arrive: a handler notes the signal and wakes whoever waits, through
//! memory alone. tokio's own way goes through a socket, which a handler may close like any other descriptor.
//!
//! Must not import pyo3 or tokio.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

use libc::{SIGHUP, SIGINT, SIGTERM, c_int, c_void, siginfo_t};

use crate::platform;

/// The signals that are taken.
const TAKEN: [c_int; 3] = [SIGINT, SIGTERM, SIGHUP];

/// What those were before that are taken now; null for others. What is pointed to is never freed: a handler may be
/// looking at it.
static PREVIOUS: [AtomicPtr<libc::sigaction>; TAKEN.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; TAKEN.len()];

/// Which have arrived and were not looked at yet.
static ARRIVED: [AtomicBool; TAKEN.len()] = [const { AtomicBool::new(false) }; TAKEN.len()];

/// Changes with each signal and each [`wake`]; what is waited on.
static CHANGES: AtomicU32 = AtomicU32::new(0);

/// The signals that are the server's until this is dropped; then they are what they were before.
pub(super) struct Taken(());

impl Taken {
    /// Takes the signals. One that is ignored stays so: a parent keeps Ctrl-C from its children that way, and
    /// `nohup` a hangup.
    ///
    /// What was there before is called as well, such as a handler of Python, which only notes that it was called.
    pub(super) fn new() -> io::Result<Self> {
        // From here on, so that what is taken is given back when one cannot be.
        let taken = Self(());
        for (number, previous) in TAKEN.into_iter().zip(&PREVIOUS) {
            let before = disposition(number)?;
            if before.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            previous.store(Box::into_raw(Box::new(before)), Ordering::Release);
            set_disposition(number, &ours())?;
        }
        Ok(taken)
    }
}

/// Whether the signal `number` has arrived since this was last asked.
pub(super) fn has_arrived(number: c_int) -> bool {
    let place = TAKEN.iter().position(|taken| *taken == number);
    place.is_some_and(|place| ARRIVED[place].swap(false, Ordering::AcqRel))
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
        for arrived in &ARRIVED {
            arrived.store(false, Ordering::Release);
        }
    }
}

/// Gives each signal that is taken what it was before. Takes no lock and no memory, so that a child that was forked
/// can do it at once.
pub(super) fn give_back() {
    for (number, previous) in TAKEN.into_iter().zip(&PREVIOUS) {
        // SAFETY: null, or what `Taken::new` has made, which is not freed and not written any more.
        if let Some(before) = unsafe { previous.swap(ptr::null_mut(), Ordering::AcqRel).as_ref() } {
            // It was possible before, with a value that the system gave.
            let _ = set_disposition(number, before);
        }
    }
}

thread_local! {
    /// The signals that this thread blocked before the fork that it is making.
    static BLOCKED: Cell<Option<libc::sigset_t>> = const { Cell::new(None) };
}

/// Before a fork: the signals wait, so that the child gets none before it has what it does with them.
pub(super) fn hold() {
    if PREVIOUS.iter().all(|previous| previous.load(Ordering::Acquire).is_null()) {
        return;
    }
    let (mut held, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: the first calls fill `held`, the last one fills `before`, which is read if it did.
    unsafe {
        libc::sigemptyset(held.as_mut_ptr());
        for number in TAKEN {
            libc::sigaddset(held.as_mut_ptr(), number);
        }
        if libc::pthread_sigmask(libc::SIG_BLOCK, held.as_ptr(), before.as_mut_ptr()) == 0 {
            BLOCKED.set(Some(before.assume_init()));
        }
    }
}

/// After a fork, in either process: the signals that have waited arrive.
pub(super) fn let_go() {
    if let Some(blocked) = BLOCKED.take() {
        // SAFETY: a set that the system gave.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, ptr::null_mut()) };
    }
}

/// How often something has come so far. To be asked before looking at what has come, and given to [`wait`].
pub(super) fn changes() -> u32 {
    CHANGES.load(Ordering::Acquire)
}

/// Waits until [`changes`] is not `seen`, but no longer than `time`. It may return early.
pub(super) fn wait(seen: u32, time: Option<Duration>) {
    platform::wait_while(&CHANGES, seen, time);
}

/// Ends what waits.
pub(super) fn wake() {
    CHANGES.fetch_add(1, Ordering::AcqRel);
    platform::wake_all(&CHANGES);
}

/// Ignores the signal `number` if it would end the process.
pub(super) fn ignore(number: c_int) -> io::Result<()> {
    let mut action = disposition(number)?;
    if action.sa_sigaction != libc::SIG_DFL {
        return Ok(());
    }
    action.sa_sigaction = libc::SIG_IGN;
    set_disposition(number, &action)
}

/// What the signal `number` does now.
fn disposition(number: c_int) -> io::Result<libc::sigaction> {
    // SAFETY: with a null second argument `sigaction` only writes the current action to `action`, for which
    // all zeros is a valid value.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        match libc::sigaction(number, ptr::null(), &raw mut action) {
            0 => Ok(action),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn set_disposition(number: c_int, action: &libc::sigaction) -> io::Result<()> {
    // SAFETY: `action` is one that the system gave, or `ours`, whose function may be called at any time.
    match unsafe { libc::sigaction(number, action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a signal does that is taken.
fn ours() -> libc::sigaction {
    // SAFETY: all zeros is a valid value, and the set is filled.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        // System calls go on, and a thread of Go or of a profiler may have a stack for signals.
        action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        action
    }
}

/// Runs in the middle of anything: atomics and a system call only.
extern "C" fn on_signal(number: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(place) = TAKEN.iter().position(|taken| *taken == number) else { return };
    platform::keeping_errno(|| {
        ARRIVED[place].store(true, Ordering::Release);
        wake();
        // SAFETY: null, or what `Taken::new` has made, which is not freed and not written any more.
        if let Some(previous) = unsafe { PREVIOUS[place].load(Ordering::Acquire).as_ref() } {
            // SAFETY: the system gave it as the function that it would have called with these arguments.
            unsafe { call(previous, number, info, context) };
        }
    });
}

/// Calls what `action` names, if it is a function.
///
/// # Safety
///
/// `action` is what the system gave for the signal `number`, and the other arguments are those that it called a handler
/// with.
unsafe fn call(action: &libc::sigaction, number: c_int, info: *mut siginfo_t, context: *mut c_void) {
    type Simple = extern "C" fn(c_int);
    type Full = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
    let function = action.sa_sigaction;
    if function == libc::SIG_DFL || function == libc::SIG_IGN {
        return;
    }
    // SAFETY: the caller's promise; the flag says which of the two it is.
    unsafe {
        if action.sa_flags & libc::SA_SIGINFO == 0 {
            std::mem::transmute::<usize, Simple>(function)(number);
        } else {
            std::mem::transmute::<usize, Full>(function)(number, info, context);
        }
    }
}
