//! The async side.
