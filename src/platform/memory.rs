//! A thread's stack, and giving memory back. On Linux.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

/// The addresses of the stack that this thread was started with. `None`: the system does not say.
pub fn own_stack() -> Option<Range<usize>> {
    let mut attributes = MaybeUninit::uninit();
    let mut lowest = ptr::null_mut();
    let mut size = 0;
    // SAFETY: `attributes` is initialised by the first call, read by the second if there was no error, and given
    // back by the third.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let failed = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (failed == 0).then(|| lowest.addr()..lowest.addr().saturating_add(size))
    }
}

/// How many bytes a page of memory has.
pub fn page_size() -> Option<usize> {
    // SAFETY: asks for a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok().filter(|&size| size > 0)
}

/// Gives the pages of `range` back to the system; whoever reads them next finds zeros.
///
/// # Safety
///
/// `range` is memory of this process that begins and ends with a page, and nothing in it is needed any more. No Rust value
/// and no frame of a function that is being called lies there.
#[inline]
pub unsafe fn give_back_pages(range: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe {
        libc::madvise(ptr::without_provenance_mut(range.start), range.len(), libc::MADV_DONTNEED);
    }
}

/// Gives back to the system what the allocator has and nobody uses. `false`: this allocator cannot.
#[cfg(target_env = "gnu")]
pub fn give_back_freed() -> bool {
    // SAFETY: it takes the allocator's own locks, and touches nothing that is in use.
    unsafe { libc::malloc_trim(0) };
    true
}

/// The same.
#[cfg(not(target_env = "gnu"))]
pub fn give_back_freed() -> bool {
    false
}
