//! PyO3 side.
