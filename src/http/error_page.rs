//! The error responses of the reference, whose bytes tests compare.
