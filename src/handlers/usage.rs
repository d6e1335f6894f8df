//! How many connections run which version of a handler.
//!
//! Must not import pyo3 or tokio.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::snapshot::Handler;

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

/// A handler that a connection runs; counted until it is dropped.
#[derive(Debug)]
pub struct InUse<S> {
    handler: Arc<Handler<S>>,
}

impl<S> InUse<S> {
    /// Counts a connection of `handler`.
    #[must_use]
    pub fn new(handler: Arc<Handler<S>>) -> Self {
        handler.usage.version.fetch_add(1, Ordering::Relaxed);
        Self { handler }
    }

    /// What the connection runs.
    #[must_use]
    pub fn handler(&self) -> &Arc<Handler<S>> {
        &self.handler
    }
}

impl<S> Drop for InUse<S> {
    fn drop(&mut self) {
        self.handler.usage.version.fetch_sub(1, Ordering::Relaxed);
    }
}
