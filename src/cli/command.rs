//! The clap command of the program: its options and subcommands. Must not import anything but its neighbours.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Args as _, Command, Id, value_parser};
use clap_complete::Shell;

use super::names::PROGRAM;
use super::options::Options;
use super::{probe, replay, value};

/// The subcommand that checks handlers.
pub(super) const CHECK: &str = "check";
/// The subcommand that writes a handler.
pub(super) const NEW: &str = "new";

/// The options of the server that its short help shows: those that say which handlers there are, and how they are read.
const COUNT_FOR_CHECK: [&str; 6] = [
    "websock_handlers",
    "scan_dir",
    "websock_handlers_map_file",
    "allow_handlers_outside_root_dir",
    "handler_encoding",
    "document_root",
];

fn check_command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).action(ArgAction::SetTrue).help_heading("Check")
    };
    let directory = Arg::new("directory")
        .value_parser(value_parser!(PathBuf))
        .value_name("DIR")
        .help_heading("Check")
        .help("Root of the handler files, as --websock-handlers");
    let check = Command::new(CHECK)
        .after_help("Every option of the server is taken, so that its command line can be tried; --help has all of them.")
        .after_long_help("")
        .arg(directory)
        .arg(flag("json", "Print JSON instead of a table"))
        .arg(flag("watch", "Go on, and report again whenever a file changes").conflicts_with("fix"))
        .arg(flag("fix", "Show how files that are still Python 2 would be converted"))
        .arg(flag("write", "With --fix: convert them").requires("fix"));
    let own: Vec<Id> = check.get_arguments().map(|arg| arg.get_id().clone()).collect();
    Options::augment_args(check)
        .mut_args(|arg| {
            let is_short = own.contains(arg.get_id()) || COUNT_FOR_CHECK.contains(&arg.get_id().as_str());
            arg.hide_short_help(!is_short)
        })
        // After the options: the comments on their structs would take its place.
        .about("Load every handler as the server would, and say what is wrong and what to do")
        .args_override_self(true)
}

fn new_command() -> Command {
    let into = Arg::new("into").long("into").value_parser(value_parser!(PathBuf)).value_name("DIR");
    Command::new(NEW)
        .about("Write a small handler and a test for it: handlers/NAME_wsh.py and tests/test_NAME.py")
        .arg(
            Arg::new("name")
                .required(true)
                .value_name("NAME")
                .value_parser(value::resource)
                .help("The resource, such as chat or room/chat"),
        )
        .arg(into.default_value(".").help("Folder that gets handlers/ and tests/"))
}

/// The clap command of the program.
pub(super) fn command() -> Command {
    let shell = Arg::new("shell").required(true).value_parser(value_parser!(Shell)).value_name("SHELL");
    let directory =
        Arg::new("directory").required(true).value_parser(value_parser!(PathBuf)).value_name("DIR");
    reference_command()
        .subcommand(
            Command::new("completions").about("Print a script that completes options in a shell").arg(shell),
        )
        .subcommand(Command::new("man").about("Print the manual page, in troff"))
        .subcommand(
            Command::new("vendor")
                .about("Write the packages pywebsocket3 and mod_pywebsocket into a directory")
                .arg(directory),
        )
        .subcommand(check_command())
        .subcommand(replay::command())
        .subcommand(probe::command())
        .subcommand(new_command())
        .disable_help_subcommand(true)
}

/// The command with options only, as pywebsocket's.
pub(super) fn reference_command() -> Command {
    // The text about the program comes last: the comments on the option structs would take its place.
    Options::augment_args(Command::new(PROGRAM))
        .about("Serves pywebsocket handlers (*_wsh.py) and reloads them when they change.")
        // pywebsocket: argparse takes the last of a repeated option.
        .args_override_self(true)
}
