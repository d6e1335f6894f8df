//! Files of options.

#[path = "../../../src/cli/ini.rs"]
pub mod ini;
