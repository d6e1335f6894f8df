//! From a handler file to the functions that serve its connections.
//!
//! - [`loader`] – runs the file; `python2` – one that is still Python 2; [`suite`] – what it has
//! - [`examine`] – for `wshost check`

pub mod examine;
pub mod loader;
mod python2;
pub mod suite;
