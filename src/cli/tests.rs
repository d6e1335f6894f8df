//! What is typed, what is wrong with it, and what it means.

mod meaning;
mod spelling;
mod usage;

use std::ffi::OsString;

use clap::FromArgMatches as _;

use super::command::command;
use super::{Options, UsageError, names, parse};

fn args(typed: &[&str]) -> Vec<OsString> {
    std::iter::once("wshost").chain(typed.iter().copied()).map(OsString::from).collect()
}

fn options(typed: &[&str]) -> Options {
    let command = command();
    let args = names::written_out(&command, args(typed));
    match command.try_get_matches_from(args).and_then(|matches| Options::from_arg_matches(&matches)) {
        Ok(options) => options,
        Err(error) => panic!("{typed:?}: {error}"),
    }
}

fn refused(typed: &[&str]) -> clap::Error {
    match parse(args(typed)) {
        Err(UsageError::Typed(error)) => error,
        other => panic!("{typed:?} was not refused: {other:?}"),
    }
}

const TOKEN: &str = "0123456789abcdef-_XY";
