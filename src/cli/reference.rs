//! The same options under the names that pywebsocket's Python code has for them, for programs that call its
//! option parser. Which there are, and what they hold, clap knows. Must not import anything but its neighbours.

use std::any::TypeId;
use std::ffi::OsString;

use clap::{Arg, ArgMatches};

use super::command::reference_command;
use super::names;
use super::parse::matches;
use super::usage::UsageError;
use super::value;

/// A value as argparse would give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Not given, and without a default.
    None,
    /// A flag.
    Flag(bool),
    /// `type=int`.
    Number(i64),
    /// Anything else.
    Text(OsString),
}

/// pywebsocket's order, which differs from that of the help.
const ORDER: [&str; 27] = [
    "config",
    "server_host",
    "validation_host",
    "port",
    "validation_port",
    "websock_handlers",
    "websock_handlers_map_file",
    "scan_dir",
    "allow_handlers_outside_root_dir",
    "document_root",
    "cgi_paths",
    "tls",
    "private_key",
    "certificate",
    "tls_client_auth",
    "tls_client_cert_optional",
    "tls_client_ca",
    "basic_auth",
    "basic_auth_credential",
    "log_file",
    "log_level",
    "deflate_log_level",
    "thread_monitor_interval_in_sec",
    "log_max",
    "log_count",
    "queue",
    "handler_encoding",
];

/// Options that pywebsocket has under another name (argparse's `dest`) than the one that is typed.
const RENAMED: [(&str, &str); 4] = [
    ("config", "config_file"),
    ("tls", "use_tls"),
    ("basic_auth", "use_basic_auth"),
    ("queue", "request_queue_size"),
];

/// Options that are `''` in pywebsocket when they were not given.
const EMPTY: [&str; 4] = ["private_key", "certificate", "tls_client_ca", "log_file"];

/// Reads the command line `args` (the program's name first), `--config` included, and gives every option of
/// pywebsocket under pywebsocket's name, with its type. Nothing is looked up or checked beyond the form.
///
/// `--help` comes back as an error, too, with the exit code 0.
pub fn reference_options(args: Vec<OsString>) -> Result<Vec<(String, Value)>, UsageError> {
    let command = reference_command();
    let matches = matches(&command, args)?;
    let mut options: Vec<&Arg> = command.get_arguments().filter(|arg| names::is_reference(arg)).collect();
    options.sort_by_key(|arg| ORDER.iter().position(|id| arg.get_id() == id));
    Ok(options.into_iter().map(|arg| (dest(arg), value_of(arg, &matches))).collect())
}

/// pywebsocket's name of an option.
fn dest(arg: &Arg) -> String {
    let id = arg.get_id().as_str();
    RENAMED.iter().find(|(ours, _)| *ours == id).map_or(id, |(_, theirs)| theirs).to_owned()
}

/// What was typed for an option, or its default, as argparse would have it.
fn value_of(arg: &Arg, matches: &ArgMatches) -> Value {
    let id = arg.get_id().as_str();
    if !arg.get_action().takes_values() {
        return Value::Flag(matches.get_flag(id));
    }
    let typed = matches.get_raw(id).and_then(|mut values| values.next_back());
    let holds = arg.get_value_parser().type_id();
    if [TypeId::of::<u16>(), TypeId::of::<i32>(), TypeId::of::<i64>()].iter().any(|number| holds == *number) {
        // clap has let nothing else through.
        let number = typed.and_then(|text| value::integer(text.to_str()?).ok());
        return number.map_or(Value::None, Value::Number);
    }
    match typed {
        Some(text) => Value::Text(text.to_owned()),
        None if EMPTY.contains(&id) => Value::Text(OsString::new()),
        None => Value::None,
    }
}
