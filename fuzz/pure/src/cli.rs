//! Files of options.

#[path = "../../../src/cli/ini.rs"]
pub mod ini;

pub use ini::{Entry, IniError, ini_section};
