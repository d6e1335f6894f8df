//! What a descriptor has open, and opening below a folder. On Linux.

use std::fs::read_link;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Opens what `path` leads to from `root`, if no step of the way leads out of it.
pub fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, flags, Mode::empty(), resolve) {
        // NOSYS, PERM: the kernel is older than 5.6, or a filter of a container does not know the call.
        // XDEV, AGAIN: a link that begins with a slash, or one with dots while others rename; it may lead
        // back inside.
        Err(Errno::NOSYS | Errno::PERM | Errno::XDEV | Errno::AGAIN) => open_and_compare(root, path, flags),
        opened => Ok(opened?),
    }
}

/// Opens `path` below `root` if what it leads to has its real place there. Without `/proc` nobody can tell.
fn open_and_compare(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let found = openat(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    if !real_path(&found)?.starts_with(real_path(root)?) {
        return Err(io::ErrorKind::NotFound.into());
    }
    if flags.contains(OFlags::PATH) {
        return Ok(found);
    }
    open_again(&found, flags)
}

/// Opens what `descriptor` has open once more, with flags of its own: the same file, whatever its path leads to now.
pub fn open_again(descriptor: impl AsFd, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat(CWD, in_proc(&descriptor), flags, Mode::empty())?)
}

/// The path, without links, of what `descriptor` has open.
pub fn real_path(descriptor: impl AsFd) -> io::Result<PathBuf> {
    read_link(in_proc(&descriptor))
}

fn in_proc(descriptor: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}

/// Lets the number of `old` lead to what `new` has open, in one step. Programs that are started do not get it.
pub fn replace(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both numbers are those of open files; that of `old` stays open.
    if unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// What there is without `openat2`.
    #[test]
    fn places_are_compared() {
        let outside = tempfile::tempdir().expect("a directory");
        let root_path = outside.path().join("root");
        fs::create_dir_all(root_path.join("dir")).expect("directories");
        fs::write(outside.path().join("secret"), "secret").expect("a file");
        fs::write(root_path.join("a"), "a").expect("a file");
        for (target, name) in [
            ("a", "relative"),
            ("../secret", "out"),
            ("/proc/self/root", "magic"),
            (root_path.join("a").to_str().expect("UTF-8"), "absolute"),
            (outside.path().join("secret").to_str().expect("UTF-8"), "absolute-out"),
            ("../root/a", "out-and-in"),
        ] {
            symlink(target, root_path.join(name)).expect("a link");
        }
        let root =
            openat(CWD, &root_path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("the root");
        for flags in [OFlags::PATH, OFlags::RDONLY] {
            for name in ["a", "relative", "absolute", "out-and-in", "dir", "."] {
                let opened = open_and_compare(&root, Path::new(name), flags).expect(name);
                let place = real_path(&opened).expect("a path");
                assert!(place.starts_with(fs::canonicalize(&root_path).expect("it is")), "{name}");
            }
            for name in ["out", "absolute-out", "magic", "magic/etc", "none"] {
                assert!(open_and_compare(&root, Path::new(name), flags).is_err(), "{name}");
            }
        }
    }
}
