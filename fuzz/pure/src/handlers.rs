//! Map files.

#[path = "../../../src/handlers/map_file.rs"]
pub mod map_file;

pub use map_file::{Alias, MapFile, MapProblem};
