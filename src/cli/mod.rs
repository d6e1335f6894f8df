//! The command line, in two levels: what was typed ([`Options`], one struct per help heading) and what it
//! means ([`Config`](crate::config::Config)).
//!
//! - `options` – what can be typed; `value` – the forms of values; `command` – the whole clap command
//! - `replay` – the command line of `wshost replay`; `probe` – that of `wshost probe`
//! - `parse` – from a command line to an [`Invocation`]; `names` – names cut short; `usage` – what is wrong; `explained` – in words
//! - `config_file` – `--config`; `ini` – its form
//! - `meaning` – what options mean; `reference` – options by pywebsocket's names
//!
//! A new option is one field in `options`, one line in [`Options::resolve`] and one row in `tests`. Must not import
//! anything but `config`, `deadline` and `error`; nothing here needs Python.

mod command;
mod config_file;
mod explained;
mod ini;
mod invocation;
mod meaning;
mod names;
mod options;
mod parse;
mod probe;
mod reference;
mod replay;
#[cfg(test)]
mod tests;
mod usage;
mod value;

pub use config_file::ConfigFileError;
pub use ini::{Entry, IniError, ini_section};
pub use invocation::{CheckOptions, Invocation};
pub use meaning::enter_document_root;
pub use options::Options;
pub use parse::parse;
pub use probe::ProbeOptions;
pub use reference::{Value, reference_options};
pub use replay::{ReplayOptions, ServerUrl, Trust};
pub use usage::UsageError;
