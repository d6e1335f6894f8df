//! How far the loading is, on one line of a terminal, and the loader that tells. Must not import pyo3.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::handlers::{Loaded, Loader};

/// Columns of the bar.
const WIDTH: u64 = 30;

/// A bar on stderr. Without a terminal there, nothing.
#[derive(Clone)]
pub(super) struct Progress {
    total: u64,
    done: Arc<AtomicU64>,
    shown: bool,
}

impl Progress {
    /// For `total` files; `quiet`: never shown.
    pub(super) fn new(total: u64, quiet: bool) -> Self {
        let shown = !quiet && total > 0 && io::stderr().is_terminal();
        let progress = Self { total, done: Arc::default(), shown };
        progress.show();
        progress
    }

    fn advance(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.show();
    }

    fn show(&self) {
        if self.shown {
            let done = self.done.load(Ordering::Relaxed).min(self.total);
            let full = usize::try_from(done * WIDTH / self.total).unwrap_or_default();
            let rest = usize::try_from(WIDTH).unwrap_or_default() - full;
            let (full, rest) = ("#".repeat(full), "-".repeat(rest));
            Self::write(&format!("\r[{full}{rest}] {done}/{}", self.total));
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if self.shown {
            Self::write("\r\x1b[K");
        }
    }

    fn write(text: &str) {
        // Nobody is left to tell when stderr is closed.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Passes everything on to `L`, and each load to a bar.
pub(super) struct Counting<L> {
    loader: L,
    progress: Progress,
}

impl<L> Counting<L> {
    pub(super) fn new(loader: L, progress: Progress) -> Self {
        Self { loader, progress }
    }
}

impl<L: Loader> Loader for Counting<L> {
    type Suite = L::Suite;
    type Renewal = L::Renewal;

    fn load(&self, path: &Path, source: &[u8]) -> Loaded<L::Suite> {
        let loaded = self.loader.load(path, source);
        self.progress.advance();
        loaded
    }

    fn renew(&self, changed: &[PathBuf]) -> L::Renewal {
        self.loader.renew(changed)
    }

    fn forget(&self, path: &Path) {
        self.loader.forget(path);
    }
}
