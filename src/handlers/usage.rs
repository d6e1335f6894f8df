//! How many connections run which version of a handler.
//!
//! Must not import pyo3 or tokio.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The connections of one version of a handler, and of those before it.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    version: Arc<AtomicUsize>,
    earlier: Vec<Arc<AtomicUsize>>,
}

impl Usage {
    /// For the version that follows this one.
    pub(super) fn next(&self) -> Self {
        // Without another owner, the version that it counts is gone.
        let alive = self.earlier.iter().filter(|count| Arc::strong_count(count) > 1);
        Self { version: Arc::default(), earlier: alive.chain([&self.version]).cloned().collect() }
    }

    /// A connection of this version begins.
    pub(super) fn begin(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection of this version has ended.
    pub(super) fn end(&self) {
        self.version.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections of this version.
    #[must_use]
    pub fn current(&self) -> usize {
        self.version.load(Ordering::Relaxed)
    }

    /// Connections of earlier versions.
    #[must_use]
    pub fn earlier(&self) -> usize {
        self.earlier.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}
