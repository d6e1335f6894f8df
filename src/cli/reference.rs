//! The same options under the names that pywebsocket's Python code has for them, for programs that call its
//! option parser. Must not import anything but its neighbours.

use std::ffi::OsString;

use super::command::reference_command;
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

/// What an option holds, and what it is when it was not given and has no default.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Flag,
    Number,
    Text,
    /// Text that is `''` unless given.
    EmptyText,
}

/// pywebsocket's name (argparse's `dest`), ours, and what it holds. In pywebsocket's order.
const OPTIONS: [(&str, &str, Kind); 27] = [
    ("config_file", "config", Kind::Text),
    ("server_host", "server_host", Kind::EmptyText),
    ("validation_host", "validation_host", Kind::Text),
    ("port", "port", Kind::Number),
    ("validation_port", "validation_port", Kind::Number),
    ("websock_handlers", "websock_handlers", Kind::Text),
    ("websock_handlers_map_file", "websock_handlers_map_file", Kind::Text),
    ("scan_dir", "scan_dir", Kind::Text),
    ("allow_handlers_outside_root_dir", "allow_handlers_outside_root_dir", Kind::Flag),
    ("document_root", "document_root", Kind::Text),
    ("cgi_paths", "cgi_paths", Kind::Text),
    ("use_tls", "tls", Kind::Flag),
    ("private_key", "private_key", Kind::EmptyText),
    ("certificate", "certificate", Kind::EmptyText),
    ("tls_client_auth", "tls_client_auth", Kind::Flag),
    ("tls_client_cert_optional", "tls_client_cert_optional", Kind::Flag),
    ("tls_client_ca", "tls_client_ca", Kind::EmptyText),
    ("use_basic_auth", "basic_auth", Kind::Flag),
    ("basic_auth_credential", "basic_auth_credential", Kind::Text),
    ("log_file", "log_file", Kind::EmptyText),
    ("log_level", "log_level", Kind::Text),
    ("deflate_log_level", "deflate_log_level", Kind::Text),
    ("thread_monitor_interval_in_sec", "thread_monitor_interval_in_sec", Kind::Number),
    ("log_max", "log_max", Kind::Number),
    ("log_count", "log_count", Kind::Number),
    ("request_queue_size", "queue", Kind::Number),
    ("handler_encoding", "handler_encoding", Kind::Text),
];

/// Reads the command line `args` (the program's name first), `--config` included, and gives every option of
/// pywebsocket under pywebsocket's name, with its type. Nothing is looked up or checked beyond the form.
///
/// `--help` comes back as an error, too, with the exit code 0.
pub fn reference_options(args: Vec<OsString>) -> Result<Vec<(&'static str, Value)>, UsageError> {
    let matches = matches(&reference_command(), args)?;
    Ok(OPTIONS
        .iter()
        .map(|&(dest, id, kind)| {
            let typed = || matches.get_raw(id).and_then(|mut values| values.next_back());
            let value = match kind {
                Kind::Flag => Value::Flag(matches.get_flag(id)),
                // clap has let nothing else through.
                Kind::Number => typed()
                    .and_then(|text| value::integer(text.to_str()?).ok())
                    .map_or(Value::None, Value::Number),
                Kind::Text => typed().map_or(Value::None, |text| Value::Text(text.to_owned())),
                Kind::EmptyText => Value::Text(typed().unwrap_or_default().to_owned()),
            };
            (dest, value)
        })
        .collect())
}
