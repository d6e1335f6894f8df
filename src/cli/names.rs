//! Names of options, written out or cut short.
//!
//! argparse, which pywebsocket uses, takes any beginning of a name that fits one option only. Options of our own
//! must not make a beginning ambiguous that was clear before, so pywebsocket's come first.

use std::ffi::OsString;

use clap::{Arg, Command};

/// The program's name.
pub(super) const PROGRAM: &str = "wshost";

/// The heading of the options that pywebsocket does not have.
pub(super) const OWN_HEADING: &str = "wshost options";

/// The option that prints help; pywebsocket has it, too.
pub(super) const HELP: &str = "help";

/// Whether pywebsocket has the option.
pub(super) fn is_reference(arg: &Arg) -> bool {
    arg.get_help_heading() != Some(OWN_HEADING)
}

/// The long name of the option that `name` (without its dashes) is a name of, or the beginning of a name of.
pub(super) fn find<'c>(command: &'c Command, name: &str) -> Option<&'c str> {
    match fitting(command, name)[..] {
        [long] => Some(long),
        _ => None,
    }
}

/// The long names of the options that `name` could be the beginning of; the one that it is the name of.
pub(super) fn fitting<'c>(command: &'c Command, name: &str) -> Vec<&'c str> {
    // clap adds help to the command when it parses.
    let known = || command.get_arguments().filter_map(|arg| Some((arg, arg.get_long()?)));
    let longs = |test: &dyn Fn(&Arg) -> bool, fits: &dyn Fn(&str) -> bool| -> Vec<&'c str> {
        known()
            .filter(|(arg, _)| test(arg))
            .filter(|(arg, long)| fits(long) || arg.get_all_aliases().into_iter().flatten().any(fits))
            .map(|(_, long)| long)
            .collect()
    };
    let exact = longs(&|_| true, &|known| known == name);
    if exact.len() == 1 {
        return exact;
    }
    let begins = |known: &str| known.starts_with(name);
    let mut reference = longs(&is_reference, &begins);
    reference.extend(begins(HELP).then_some(HELP));
    if reference.is_empty() { longs(&|_| true, &begins) } else { reference }
}

/// `args` with names that are cut short written out. What is no name, or no clear one, stays. After the name of a
/// subcommand, names are the subcommand's.
pub(super) fn written_out(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let named = args.get(1).and_then(|arg| arg.to_str()).and_then(|name| command.find_subcommand(name));
    let command = named.unwrap_or(command);
    let mut options_are_over = false;
    args.into_iter()
        .map(|arg| {
            options_are_over |= arg == "--";
            let typed = arg.to_str().filter(|_| !options_are_over).and_then(|typed| typed.strip_prefix("--"));
            let Some(typed) = typed else { return arg };
            let (name, value) = match typed.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (typed, None),
            };
            match (find(command, name), value) {
                (Some(long), Some(value)) => format!("--{long}={value}").into(),
                (Some(long), None) => format!("--{long}").into(),
                (None, _) => arg,
            }
        })
        .collect()
}
