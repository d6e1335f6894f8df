//! Map files.

#[path = "../../../src/handlers/map_file.rs"]
pub mod map_file;
