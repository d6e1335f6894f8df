//! Where records go: stderr, or a file that is rotated by its size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;

use crate::config::LogConfig;
use crate::error::StartError;
use crate::writer::{Lines, OwnFile, Sink, Target};

/// Whether somebody reads stderr along.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Standard error.
#[derive(Default)]
pub(super) struct Stderr(Lines);

impl Sink for Stderr {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        self.0.write(Target::Stderr.descriptor()?, record)
    }
}

/// A file that is appended to, and set aside as `FILE.1`, `FILE.2`, ... when it is full.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// Its number stays: children of a fork, and those who print what is queued, know it.
    file: Arc<OwnFile>,
    lines: Lines,
    /// Takes what people are told, until they were told that somebody has closed the file.
    tell: Option<fn(&str)>,
    /// Size, in bytes, that the file does not reach; 0: it is never rotated.
    max_size: u64,
    /// How many files are set aside.
    backups: u32,
}

impl Sink for LogFile {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if self.is_full(record.len() as u64).unwrap_or(false) {
            // Where that fails, the file grows on.
            let _ = self.rotate();
        }
        let Ok(descriptor) = self.file.descriptor() else {
            return Err(self.lost());
        };
        self.lines.write(descriptor, record)
    }
}

impl LogFile {
    /// Opens what `config` names, if it names one.
    pub(super) fn of(config: &LogConfig, tell: fn(&str)) -> Result<Option<Self>, StartError> {
        let Some(path) = &config.file else {
            return Ok(None);
        };
        let rotation = if config.backups == 0 { 0 } else { config.max_size };
        match Self::open(path, rotation, config.backups, tell) {
            Ok(file) => Ok(Some(file)),
            Err(source) => Err(StartError::writing("--log-file", path, source)),
        }
    }

    fn open(path: &Path, max_size: u64, backups: u32, tell: fn(&str)) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: OwnFile::new(append_to(path)?)?.into(),
            lines: Lines::default(),
            tell: Some(tell),
            max_size,
            backups,
        })
    }

    /// Says once that nothing can be written any more.
    fn lost(&mut self) -> io::Error {
        if let Some(tell) = self.tell.take() {
            let path = self.path.display();
            tell(&format!("wshost: --log-file {path}: its descriptor was closed; nothing more is logged"));
        }
        io::Error::from_raw_os_error(libc::EBADF)
    }

    /// What is written to.
    pub(super) fn target(&self) -> Target {
        Target::File(Arc::clone(&self.file))
    }

    /// Whether `more` bytes would fill the file. pywebsocket: only regular files are rotated. An empty one is
    /// not, whatever the size of the record.
    fn is_full(&self, more: u64) -> io::Result<bool> {
        if self.max_size == 0 {
            return Ok(false);
        }
        // Asked each time: others may append to the file, or empty it.
        let stat = self.file.stat()?;
        let (kind, size) = (FileType::from_raw_mode(stat.st_mode), stat.st_size.cast_unsigned());
        Ok(kind == FileType::RegularFile && size > 0 && size + more >= self.max_size)
    }

    /// Sets the file aside and begins a new one. The oldest one is dropped.
    fn rotate(&mut self) -> io::Result<()> {
        // However many may be kept: those that there are. Each takes the place of the next.
        let free = (1..self.backups).find(|&number| !self.backup(number).exists()).unwrap_or(self.backups);
        for number in (1..free).rev() {
            match fs::rename(self.backup(number), self.backup(number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.backup(1))?;
        match append_to(&self.path) {
            Ok(file) => {
                self.file.replace(&file)?;
                self.lines = Lines::default();
                Ok(())
            }
            Err(error) => {
                // Else each further record would push an older file out.
                fs::rename(self.backup(1), &self.path)?;
                Err(error)
            }
        }
    }

    fn backup(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Does not wait for somebody who reads a FIFO: without one it is an error.
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn contents(directory: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
        let mut files: Vec<_> = entries
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    fn written(max_size: u64, backups: u32, records: &[&str]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let config =
            LogConfig { file: Some(directory.path().join("log")), max_size, backups, ..LogConfig::default() };
        let mut file = LogFile::of(&config, |_| {}).unwrap().unwrap();
        for record in records {
            file.write(record.as_bytes()).unwrap();
        }
        contents(directory.path()).into_iter().map(|(name, text)| format!("{name}={text}")).collect()
    }

    #[test]
    fn rotates_before_the_size_is_reached() {
        let records = ["aaa", "bb", "c", "dddd", "e"];
        assert_eq!(written(6, 9, &records), ["log=e", "log.1=cdddd", "log.2=aaabb"]);
        assert_eq!(written(5, 1, &records), ["log=e", "log.1=dddd"]);
        assert_eq!(written(0, 5, &records), ["log=aaabbcdddde"]);
        assert_eq!(written(5, 0, &records), ["log=aaabbcdddde"]);
        // No record is cut.
        assert_eq!(written(3, 2, &["aaaaaaaa", "b"]), ["log=b", "log.1=aaaaaaaa"]);
    }

    #[test]
    fn counts_what_was_there_and_what_others_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "old").unwrap();
        let mut file = LogFile::open(&path, 5, 3, |_| {}).unwrap();
        file.write(b"ab").unwrap();
        fs::write(&path, "").unwrap();
        file.write(b"cd").unwrap();
        append_to(&path).unwrap().write_all(b"xy").unwrap();
        file.write(b"e").unwrap();
        let expected = [("log", "e"), ("log.1", "cdxy"), ("log.2", "old")];
        assert_eq!(contents(directory.path()), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn what_is_no_file_or_cannot_be_renamed_is_written_on() {
        let mut null = LogFile::open(Path::new("/dev/null"), 1, 1, |_| {}).unwrap();
        null.write(b"a").unwrap();
        null.write(b"b").unwrap();
        assert!(!Path::new("/dev/null.1").exists());

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = LogFile::open(&path, 2, 1, |_| {}).unwrap();
        fs::create_dir_all(directory.path().join("log.1/full")).unwrap();
        file.write(b"a").unwrap();
        file.write(b"b").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "ab");
    }
}
