//! How far the loading is, on one line of a terminal. Must not import anything of the crate.

use std::io::{self, IsTerminal as _, Write as _};

/// Columns of the bar.
const WIDTH: usize = 30;

/// A bar on stderr. Without a terminal there, nothing.
pub(super) struct Progress {
    is_terminal: bool,
}

impl Progress {
    /// `quiet`: never shown.
    pub(super) fn new(quiet: bool) -> Self {
        Self { is_terminal: !quiet && io::stderr().is_terminal() }
    }

    /// Shows that `done` of `total` are done.
    pub(super) fn show(&self, done: usize, total: usize) {
        if let Some(full) = (done * WIDTH).checked_div(total) {
            let (full, rest) = ("#".repeat(full), "-".repeat(WIDTH - full));
            self.write(&format!("\r[{full}{rest}] {done}/{total}"));
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.write("\r\x1b[K");
    }

    fn write(&self, text: &str) {
        if self.is_terminal {
            // Nobody is left to tell when stderr is closed.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}
