//! What all requests share.

use std::sync::Arc;

use super::samples::Samples;
use crate::handlers::Monitor;

pub(super) struct Shared {
    /// What the server does.
    pub(super) monitor: Arc<dyn Monitor>,
    /// What it did in the last minutes.
    pub(super) samples: Samples,
}
