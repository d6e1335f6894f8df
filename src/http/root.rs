//! Opens what lies below a folder, and nothing else, whatever is renamed or linked meanwhile.
//!
//! Who looks at a path and opens it then has two answers, which may be about two files. So a descriptor comes first,
//! and what is to be known is asked of it. Must not import tokio or pyo3.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::platform;

/// A folder that paths count from.
#[derive(Debug, Clone, Copy)]
pub struct Root<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Whether a symbolic link may lead out of it.
    pub allow_outside: bool,
}

impl Root<'_> {
    /// What `path` (without `..`) leads to, opened neither for reading nor for running: a pipe or a device takes no
    /// notice. An error: nothing, or something outside.
    pub fn look(self, path: &Path) -> io::Result<File> {
        self.open(path, OFlags::PATH).map(File::from)
    }

    /// The regular file `path`, to be read, and what it is like. An error: it is none, or lies outside.
    pub fn file(self, path: &Path) -> io::Result<(File, Metadata)> {
        if !self.look(path)?.metadata()?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        // Another one may be there by now. To open a pipe must not wait, nor a terminal become ours.
        let file = File::from(self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// The folder `path`, to be listed.
    pub fn directory(self, path: &Path) -> io::Result<OwnedFd> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn open(self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = flags | OFlags::CLOEXEC;
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, self.path, folder, Mode::empty())?;
        if self.allow_outside {
            return Ok(openat(&root, path, flags, Mode::empty())?);
        }
        platform::open_beneath(&root, path, flags)
    }
}

/// No file of text is larger: what is has been filled by mistake, and would fill our memory.
pub const MAX_TEXT: u64 = 64 << 20;

/// Reads the regular file `path`. An error for anything else: a pipe would wait, a device may have no end; and for one
/// of more than [`MAX_TEXT`] bytes.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > MAX_TEXT {
        return Err(too_large());
    }
    read_text(&file)
}

/// Reads the pipe `path` to its end, which comes when nobody writes to it any more. An error as for [`read_regular`].
pub fn read_pipe(path: &Path) -> io::Result<Vec<u8>> {
    read_text(&File::open(path)?)
}

/// Whoever has written much less may have written more by now.
fn read_text(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TEXT { Err(too_large()) } else { Ok(bytes) }
}

fn too_large() -> io::Error {
    io::Error::other(format!("it is larger than {} MiB", MAX_TEXT >> 20))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// A root with links of all kinds, inside a folder with a secret.
    fn tree() -> (tempfile::TempDir, PathBuf) {
        let outside = tempfile::tempdir().expect("a directory");
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("dir/deep")).expect("directories");
        fs::write(outside.path().join("secret"), "secret").expect("a file");
        fs::write(root.join("a"), "a").expect("a file");
        for (target, name) in [
            ("a", "relative"),
            ("../../a", "dir/deep/up"),
            ("../secret", "out"),
            ("/proc/self/root", "magic"),
            (root.join("a").to_str().expect("UTF-8"), "absolute"),
            (outside.path().join("secret").to_str().expect("UTF-8"), "absolute-out"),
            ("../root/a", "out-and-in"),
        ] {
            symlink(target, root.join(name)).expect("a link");
        }
        (outside, root)
    }

    fn content(root: Root<'_>, name: &str) -> Option<String> {
        let mut text = String::new();
        root.file(Path::new(name)).ok()?.0.read_to_string(&mut text).ok()?;
        Some(text)
    }

    #[test]
    fn links_that_stay_inside_are_followed_and_no_others() {
        let (_outside, path) = tree();
        let root = Root { path: &path, allow_outside: false };
        for name in ["a", "relative", "dir/deep/up", "absolute", "out-and-in"] {
            assert_eq!(content(root, name).as_deref(), Some("a"), "{name}");
        }
        for name in ["out", "absolute-out", "dir", "magic", "", "none", "a/b", "nul\0"] {
            assert_eq!(content(root, name), None, "{name}");
        }
        for name in ["out", "absolute-out", "magic"] {
            assert!(root.look(Path::new(name)).is_err(), "{name}");
        }
        let root = Root { allow_outside: true, ..root };
        for name in ["out", "absolute-out"] {
            assert_eq!(content(root, name).as_deref(), Some("secret"), "{name}");
        }
    }

    #[test]
    fn only_regular_files_are_read() {
        let (_outside, path) = tree();
        rustix::fs::mknodat(CWD, path.join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .expect("a pipe");
        let _socket = std::os::unix::net::UnixListener::bind(path.join("socket")).expect("a socket");
        let root = Root { path: &path, allow_outside: true };
        symlink("/dev/zero", path.join("zero")).expect("a link");
        for name in ["pipe", "socket", "zero", "dir"] {
            assert_eq!(content(root, name), None, "{name}");
            assert!(read_regular(&path.join(name)).is_err(), "{name}");
        }
        assert_eq!(read_regular(&path.join("a")).expect("a file"), b"a");
    }
}
