//! Files of options.

#[path = "../../../src/cli/ini.rs"]
pub mod ini;

pub use ini::{IniError, ini_section};
