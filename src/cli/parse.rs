//! From what was typed, and what a file of options says, to what is asked for. Must not import anything but its
//! neighbours.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, FromArgMatches as _};
use clap_complete::Shell;

use super::command::{CHECK, NEW, command, reference_command};
use super::explained::explained;
use super::invocation::{CheckOptions, Invocation};
use super::names::PROGRAM;
use super::options::Options;
use super::usage::{self, UsageError};
use super::{config_file, names, probe, replay};

/// Reads a command line and the file that its `--config` names; `args[0]` is the program's name, as
/// `std::env::args_os` gives it.
pub fn parse(args: Vec<OsString>) -> Result<Invocation, UsageError> {
    let command = command();
    let mut matches = matches(&command, args)?;
    if let Some((name, mut arguments)) = matches.remove_subcommand() {
        if let Some(option) = usage::first_typed(&command, &matches) {
            let text = format!("'{option}' cannot stand before the subcommand '{name}'");
            return Err(UsageError::Typed(command.clone().error(ErrorKind::ArgumentConflict, text)));
        }
        match name.as_str() {
            CHECK => return check_options(&command, arguments),
            replay::NAME => return replay::options(&command, arguments).map(Invocation::Replay),
            probe::NAME => return probe::options(&command, arguments).map(Invocation::Probe),
            NEW => {
                return Ok(Invocation::New {
                    resource: arguments.remove_one("name").unwrap_or_default(),
                    directory: arguments.remove_one("into").unwrap_or_default(),
                });
            }
            _ => {}
        }
        if let Some(directory) = arguments.try_remove_one::<PathBuf>("directory").ok().flatten() {
            return Ok(Invocation::Vendor(directory));
        }
        let mut text = Vec::new();
        match arguments.try_remove_one::<Shell>("shell").ok().flatten() {
            Some(shell) => clap_complete::generate(shell, &mut command.clone(), PROGRAM, &mut text),
            // Writing to memory cannot fail.
            None => drop(clap_mangen::Man::new(command).render(&mut text)),
        }
        return Ok(Invocation::Print(text));
    }
    let options = Options::from_arg_matches_mut(&mut matches)
        .map_err(|error| UsageError::Typed(error.format(&mut command.clone())))?;
    Ok(if options.server.version {
        Invocation::Version { python: options.server.python }
    } else {
        check_descriptors(&command, &options)?;
        Invocation::Serve(options)
    })
}

/// Refuses one descriptor for two things: the ready line's is closed once it is written.
fn check_descriptors(command: &Command, options: &Options) -> Result<(), UsageError> {
    let Some(ready) = options.server.ready_fd else { return Ok(()) };
    if !options.listening_descriptors().contains(&ready) {
        return Ok(());
    }
    let text = format!(
        "the argument '--ready-fd {ready}' names the socket that is listened on; pass another descriptor"
    );
    Err(UsageError::Typed(command.clone().error(ErrorKind::ArgumentConflict, text)))
}

fn check_options(command: &Command, mut arguments: ArgMatches) -> Result<Invocation, UsageError> {
    let mut options = Options::from_arg_matches_mut(&mut arguments)
        .map_err(|error| UsageError::Typed(error.format(&mut command.clone())))?;
    if let Some(handlers) = arguments.remove_one("directory") {
        options.handlers.websock_handlers = handlers;
    }
    Ok(Invocation::Check(CheckOptions {
        options,
        json: arguments.get_flag("json"),
        watch: arguments.get_flag("watch"),
        fix: arguments.get_flag("fix"),
        write: arguments.get_flag("write"),
    }))
}

/// What was typed, after what is in the file that its `--config` names.
pub(super) fn matches(command: &Command, mut args: Vec<OsString>) -> Result<ArgMatches, UsageError> {
    args = names::written_out(command, args);
    let refused = |error| {
        let named = args.get(1).and_then(|arg| arg.to_str()).and_then(|name| command.find_subcommand(name));
        UsageError::Typed(explained(named.unwrap_or(command), error))
    };
    let typed = command.clone().try_get_matches_from(&args).map_err(refused)?;
    // `wshost check` takes the server's options after its name.
    let (scope, at) = match typed.subcommand() {
        Some((_, arguments)) => (arguments, 2),
        None => (&typed, 1),
    };
    let file = scope.try_get_one::<PathBuf>("config").ok().flatten();
    let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) else {
        return Ok(typed);
    };
    let from_file = config_file::arguments(file, &reference_command()).map_err(UsageError::ConfigFile)?;
    // The last of a repeated option counts, so what was typed comes last.
    let at = at.min(args.len());
    let typed = args.split_off(at);
    args.extend(from_file.into_iter().chain(typed));
    command.clone().try_get_matches_from(args).map_err(UsageError::Typed)
}
