//! The stacks of handler threads: what a connection that waits does not need of its own is given back.
//!
//! Code of handlers may run on another stack than its thread's: extensions have coroutines with stacks that they
//! allocate. The thread's own is left alone then, since what will be returned to lies there.
//!
//! Must not import pyo3.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

use crate::platform;

/// How much below [`release`] stays: more than it and the call that it makes need.
const MARGIN: usize = 384;

thread_local! {
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread was started by us, with a stack that lies in memory of its own.
pub fn mark() {
    IS_OURS.set(true);
}

/// Gives the pages of this thread's stack that lie below the caller back to the system: what deeper calls have left
/// there is of no use any more. Does nothing on threads of others, and on other stacks than the thread's own.
#[inline(never)]
pub fn release_unused() {
    if !IS_OURS.get() {
        return;
    }
    if let Some((stack, page)) = platform::own_stack().zip(platform::page_size()) {
        release(&stack, page);
    }
}

/// The part that knows where the stack is in use. Not inlined: a caller's larger frame would reach below `MARGIN`.
#[inline(never)]
fn release(stack: &Range<usize>, page: usize) {
    let here = MaybeUninit::<u8>::uninit();
    let here = ptr::from_ref(&here).addr();
    if !stack.contains(&here) {
        return;
    }
    let end = here.saturating_sub(MARGIN) / page * page;
    if end > stack.start {
        // SAFETY: the range is part of this thread's own stack, from its lowest page to one below this code, which runs on
        // it. Stacks grow downwards, so frames of callers lie above `here`. This frame and that of the call lie less than
        // `MARGIN` below it: neither has more than a few words, and the system call itself uses the kernel's stack. A
        // `madvise` that is replaced by a function with large frames would break that.
        unsafe { platform::give_back_pages(stack.start..end) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::page_size;

    /// Writes to 100 KiB of stack and more, and gives what is there.
    #[inline(never)]
    fn go_deep(levels: usize) -> u8 {
        let level = std::hint::black_box([7u8; 10 << 10]);
        if levels == 0 { level[1000] } else { go_deep(levels - 1) + std::hint::black_box(level)[levels] / 8 }
    }

    /// How many pages of the 64 KiB that end 16 KiB below here are in memory.
    fn resident() -> usize {
        let page = page_size().unwrap();
        let end = ptr::from_ref(&MaybeUninit::<u8>::uninit()).addr() / page * page - (16 << 10);
        let mut pages = vec![0u8; (64 << 10) / page];
        // SAFETY: asks about memory of this thread's stack.
        let failed = unsafe {
            libc::mincore(ptr::without_provenance_mut(end - (64 << 10)), 64 << 10, pages.as_mut_ptr())
        };
        assert_eq!(failed, 0);
        pages.iter().filter(|&&page| page & 1 == 1).count()
    }

    #[test]
    fn only_our_threads_give_back_what_they_do_not_use() {
        let left = |is_ours: bool| {
            let work = move || {
                if is_ours {
                    mark();
                }
                let kept = std::hint::black_box([9u8; 5000]);
                assert_eq!(go_deep(10), 7);
                let before = resident();
                release_unused();
                assert_eq!(kept, [9u8; 5000]);
                (before, resident())
            };
            std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap()
        };
        let all = (64 << 10) / page_size().unwrap();
        assert_eq!(left(false), (all, all));
        assert_eq!(left(true), (all, 0));
    }

    #[test]
    fn a_stack_that_the_code_does_not_run_on_is_left_alone() {
        // Below this thread's stack, where memory for it lies, or above.
        let pages = vec![7u8; 16 * page_size().unwrap()];
        let start = pages.as_ptr().addr();
        let other = start.next_multiple_of(page_size().unwrap())..start + pages.len();
        release(&other, page_size().unwrap());
        assert!(pages.iter().all(|&byte| byte == 7));
        let above = usize::MAX - pages.len()..usize::MAX;
        release(&above, page_size().unwrap());
    }
}
