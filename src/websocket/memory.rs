//! Memory whose size a peer or a handler decides: the system may refuse it, which costs a message and not the process.
//!
//! Must not import tokio or pyo3.

use std::hint::black_box;

use thiserror::Error;

/// Smaller pieces are asked for as they are.
const LARGE: usize = 1 << 20;

/// A large piece is taken only if so much would be left: all others need some, too, and where Rust's own small
/// allocations fail the process ends. No less, because glibc then maps the piece, and unmaps it, and learns nothing from it
/// (`M_MMAP_THRESHOLD` in mallopt(3)).
const RESERVE: usize = 33 << 20;

/// The system gives no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("There is no memory for it")]
pub struct NoMemory;

/// Asks whether a piece of `size` bytes may be taken.
pub fn ask(size: usize) -> Result<(), NoMemory> {
    if size < LARGE {
        return Ok(());
    }
    let mut probe = Vec::<u8>::new();
    probe.try_reserve_exact(size.saturating_add(RESERVE)).map_err(|_| NoMemory)?;
    // Or it would not be asked for at all.
    black_box(&probe);
    Ok(())
}

/// Makes room for `more` bytes after `bytes`, and for some of what may follow.
pub fn reserve(bytes: &mut Vec<u8>, more: usize) -> Result<(), NoMemory> {
    if bytes.capacity() - bytes.len() >= more {
        return Ok(());
    }
    ask(bytes.len().max(more))?;
    bytes.try_reserve(more).map_err(|_| NoMemory)
}

/// Makes room for `more` bytes after `bytes`, and for nothing else.
pub fn reserve_exact(bytes: &mut Vec<u8>, more: usize) -> Result<(), NoMemory> {
    ask(more)?;
    bytes.try_reserve_exact(more).map_err(|_| NoMemory)
}

/// Puts `more` after `bytes`.
pub fn append(bytes: &mut Vec<u8>, more: &[u8]) -> Result<(), NoMemory> {
    reserve(bytes, more.len())?;
    bytes.extend_from_slice(more);
    Ok(())
}

/// A copy of `bytes`.
pub fn copy(bytes: &[u8]) -> Result<Vec<u8>, NoMemory> {
    let mut copy = Vec::new();
    reserve_exact(&mut copy, bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// So many zeros.
pub fn zeroed(length: usize) -> Result<Vec<u8>, NoMemory> {
    let mut zeros = Vec::new();
    reserve_exact(&mut zeros, length)?;
    zeros.resize(length, 0);
    Ok(zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any address space has.
    const TOO_MUCH: usize = isize::MAX as usize - RESERVE;

    #[test]
    fn what_the_system_does_not_have_is_an_error() {
        assert_eq!(ask(TOO_MUCH), Err(NoMemory));
        assert_eq!(zeroed(TOO_MUCH), Err(NoMemory));
        let mut bytes = b"kept".to_vec();
        assert_eq!(reserve(&mut bytes, TOO_MUCH), Err(NoMemory));
        assert_eq!(reserve_exact(&mut bytes, usize::MAX), Err(NoMemory));
        assert_eq!(bytes, b"kept");
    }

    #[test]
    fn bytes_are_copied_and_appended() {
        let mut bytes = copy(b"a").unwrap();
        append(&mut bytes, b"bc").unwrap();
        append(&mut bytes, b"").unwrap();
        assert_eq!(bytes, b"abc");
        assert_eq!(zeroed(2), Ok(vec![0, 0]));
        assert_eq!(ask(LARGE), Ok(()));
    }
}
