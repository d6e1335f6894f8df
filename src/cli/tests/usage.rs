//! What wrong usage, help and the other subcommands say.

use std::path::Path;

use clap::Arg;
use clap::error::ErrorKind;

use super::super::command::{command, reference_command};
use super::super::{Invocation, names, parse, usage};
use super::{TOKEN, args, refused};

#[test]
fn refuses_wrong_usage_with_2_and_says_what_to_type() {
    let table: &[(&[&str], &str)] = &[
        (&["--document-rot", "x"], "--document-root"),
        (
            &["--log", "x"],
            "'--log' could be --log-file or --log-level or --log-max or --log-count; type more of it",
        ),
        (&["--max", "3"], "'--max' could be --max-message-size or --max-total-message-size; type more of it"),
        (&["check", "--max=3"], "'--max' could be --max-message-size or --max-total-message-size;"),
        (&["-p", "99999"], "0 to 65535"),
        (&["-p", "-1"], "0 to 65535"),
        (&["-p", "http"], "0 to 65535"),
        (&["-p"], "--port"),
        (&["-q", "many"], "128"),
        (&["--log-level", "verbose"], "fine"),
        (&["--log-level", "WARN"], "warn"),
        (&["--reload-delay", "soon"], "milliseconds"),
        (&["--reload-poll", "0"], "more than 0"),
        (&["--status", "9999"], "HOST:PORT"),
        (&["--status", "::1:9999"], "HOST:PORT"),
        (&["--status", ":9999"], "HOST:PORT"),
        (&["--status", "localhost:x"], "HOST:PORT"),
        (&["--status", "localhost:1", "--status-token", "short"], "16 or more"),
        (&["--status-token", TOKEN], "--status"),
        (&["--grace", "-1"], "seconds"),
        (&["--grace=-1"], "seconds"),
        (&["--write-timeout", "0"], "more than 0"),
        (&["--head-timeout", "0"], "more than 0"),
        (&["--max-message-size", "0"], "a whole number of bytes, 1 or more, such as"),
        (&["--max-message-size", "x"], "a whole number of bytes, 1 or more, such as"),
        (&["--max-message-size", "-1"], "a whole number of bytes, 1 or more, such as"),
        (&["--max-message-size", "1MB"], "a whole number of bytes, 1 or more, such as"),
        (&["--max-total-message-size", "0"], "a whole number of bytes, 1 or more, such as"),
        (&["--max-total-message-size", "18446744073709551616"], "18446744073709551615 bytes at most"),
        (&["replay", "f", "ws://h", "--connection", "0"], "from 1 to 4294967295"),
        (&["replay", "f", "ws://h", "--connection", "x"], "from 1 to 4294967295"),
        (&["--ping-interval", "-1"], "seconds"),
        (&["--ping-timeout", "0"], "more than 0"),
        (&["--ready-fd=-1"], "open file descriptor"),
        (&["--ready-fd", "0"], "standard input, output and error"),
        (&["--ready-fd", "1"], "standard input, output and error"),
        (&["--ready_fd", "2"], "standard input, output and error"),
        (&["--ready-fd", "99999999999"], "open file descriptor"),
        (&["--fd=-1"], "open file descriptor"),
        (&["--fd", "0"], "standard input, output and error"),
        (&["--fd", "x"], "open file descriptor"),
        (&["--fd", "7", "--ready-fd", "7"], "pass another descriptor"),
        (&["--trace"], "FILE"),
        (&["--fd", "3", "--unix", "ws.sock"], "cannot be used with"),
        (&["handlers"], "'handlers' is no subcommand; to serve the folder handlers, type -d handlers"),
        (&["--", "--po"], "--po"),
        (&["man", "-p", "1"], "-p"),
        (&["-p", "1", "man"], "'--port' cannot stand before the subcommand 'man'"),
        (&["--tls", "check"], "'--tls' cannot stand before the subcommand 'check'"),
        (&["-p", "0", "extra"], "'extra'"),
        (&["chek"], "a similar subcommand exists: 'check'"),
        (&["check", "--jsn"], "a similar argument exists: '--json'"),
        (&["check", "a", "b"], "'b'"),
        (&["new"], "NAME"),
        (&["new", ""], "the name of a resource, such as chat or room/chat"),
        (&["new", ".hidden"], "the name of a resource, such as chat or room/chat"),
        (&["new", "chat_wsh.py"], "without \"_wsh.py\""),
        (&["-Z"], "'-Z'"),
        (&["vendor"], "DIR"),
        (&["completions"], "SHELL"),
        (&["completions", "dash"], "bash"),
        (&["-V"], "--validation-host"),
        (&["-P", "http"], "0 to 65535"),
        (&["--deflate-log-level", "fine"], "debug"),
        (&["--log-max", "1MB"], "whole number"),
        (&["--log-max", "99999999999999999999"], "too large"),
        (&["--log-count", "_1"], "whole number"),
        (&["--log-format", "xml"], "json"),
        (&["--tls=yes"], "--tls"),
    ];
    for (typed, says) in table {
        let error = refused(typed);
        assert_eq!(error.exit_code(), 2, "{typed:?}");
        let line = usage::one_line(&error);
        assert!(line.contains(says), "{typed:?} says {line}");
        assert!(!line.contains('\n') && !line.contains("Usage") && !line.starts_with("error"), "{line}");
        assert!(line.ends_with("; see --help"), "{line}");
    }
}

#[test]
fn help_names_every_option_and_default() {
    let help = refused(&["--help"]);
    assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
    let help = help.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.starts_with("Serves pywebsocket handlers"), "{help}");
    for part in [
        "Listening:",
        "Handlers (relative",
        "Files and CGI programs:",
        "TLS (relative",
        "Access:",
        "Log:",
        "wshost options:",
        "-H, --server-host",
        "[default: 80]",
        "[default: 128]",
        "[default: warn]",
        "[default: 5]",
        "[default: 30]",
        "[default: 268435456]",
        "[default: stderr]",
        "[default: 262144]",
        "[default: test:test]",
        "[default: text]",
        "[default: -1]",
    ] {
        assert!(help.contains(part), "no {part:?} in\n{help}");
    }
}

#[test]
fn the_short_help_of_check_fits_a_screen_and_the_long_one_has_all() {
    let short = refused(&["check", "-h"]).to_string();
    assert!(short.lines().count() <= 36, "{short}");
    let begins = "Check:\n      --json";
    assert!(short.starts_with("Load every handler"), "{short}");
    assert!(short.find(begins) < short.find("Handlers (") && short.contains(begins), "{short}");
    for (option, is_short) in [
        ("--json", true),
        ("--fix", true),
        ("--websock-handlers-map-file", true),
        ("--handler-encoding", true),
        ("--port", false),
        ("--tls-client-ca", false),
        ("--status-token", false),
    ] {
        assert_eq!(short.contains(option), is_short, "{option} in\n{short}");
        assert!(refused(&["check", "--help"]).to_string().contains(option), "{option}");
    }
}

/// An option as the guide's table has it.
fn in_the_guide(arg: &Arg) -> String {
    let long = arg.get_long().unwrap();
    let value = arg.get_value_names().filter(|_| arg.get_action().takes_values());
    let long = match value {
        Some([value]) => format!("`--{long} {value}`"),
        _ => format!("`--{long}`"),
    };
    arg.get_short().map_or_else(|| long.clone(), |short| format!("`-{short}`, {long}"))
}

#[test]
fn the_guides_table_has_every_option_with_its_default_and_no_other() {
    let guide = include_str!("../../../docs/guide.md");
    let rows: Vec<Vec<&str>> = guide
        .lines()
        .filter(|line| line.starts_with("| `-") && line.contains("`--"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .filter(|row: &Vec<&str>| row.len() == 3)
        .collect();
    let command = command();
    for arg in command.get_arguments() {
        let shown = in_the_guide(arg);
        let row = rows.iter().find(|row| row[0] == shown);
        let default = row.unwrap_or_else(|| panic!("no row for {shown} in docs/guide.md"))[1];
        if !arg.get_action().takes_values() {
            assert!(["no", "reload", ""].contains(&default), "{shown}");
            continue;
        }
        // What follows a colon or a semicolon explains it.
        let word = default.trim_matches('`').split([':', ';']).next().unwrap();
        match arg.get_default_values() {
            [value] if !value.is_empty() => {
                assert_eq!(word, value.to_str().unwrap().split(':').next().unwrap(), "{shown}");
            }
            _ => {
                let help = arg.get_help().unwrap().to_string();
                let is_in_help = !word.is_empty() && help.ends_with(&format!("[default: {word}]"));
                let is_none = ["none", "", "all addresses", "the root", "watch", "see below"].contains(&word);
                assert!(
                    is_in_help || (is_none && !help.contains(&format!("[default: {word}"))),
                    "{shown}: {default}"
                );
            }
        }
    }
    let known: Vec<String> = command.get_arguments().map(in_the_guide).collect();
    for row in rows {
        assert!(
            known.iter().any(|known| known == row[0]) || row[0] == "`-h`, `--help`",
            "{} is no option",
            row[0]
        );
    }
}

#[test]
fn the_documents_name_every_option_of_the_subcommands() {
    let guide = include_str!("../../../docs/guide.md");
    let trace = include_str!("../../../docs/trace.md");
    let command = command();
    for subcommand in command.get_subcommands() {
        let document = if subcommand.get_name() == "replay" { trace } else { guide };
        let of_the_server = |long: &str| command.get_arguments().any(|arg| arg.get_long() == Some(long));
        for long in subcommand.get_arguments().filter_map(Arg::get_long).filter(|long| !of_the_server(long)) {
            assert!(document.contains(&format!("--{long}")), "--{long} of {}", subcommand.get_name());
        }
    }
}

#[test]
fn a_file_of_options_takes_every_option() {
    let command = reference_command();
    for long in command.get_arguments().filter_map(Arg::get_long) {
        for name in [long.to_owned(), long.replace('-', "_")] {
            assert_eq!(names::find(&command, &name), Some(long));
        }
    }
}

#[test]
fn version_wins_and_keeps_the_interpreter() {
    let invocation = parse(args(&["-p", "1", "--version", "--python", "venv"])).unwrap();
    assert!(matches!(invocation, Invocation::Version { .. }));
    assert_eq!(invocation.python(), Some(Path::new("venv")));
    assert_eq!(parse(args(&["--python", "venv"])).unwrap().python(), Some(Path::new("venv")));
}

#[test]
fn prints_completions_and_the_manual_page() {
    let printed = |typed: &[&str]| match parse(args(typed)) {
        Ok(Invocation::Print(text)) => String::from_utf8(text).unwrap(),
        other => panic!("{typed:?}: {other:?}"),
    };
    for (shell, begins) in [("bash", "_wshost()"), ("zsh", "#compdef wshost"), ("fish", "# Print an")] {
        let script = printed(&["completions", shell]);
        assert!(script.starts_with(begins), "{script}");
        assert!(script.contains("thread-monitor-interval-in-sec"), "{script}");
    }
    let page = printed(&["man"]);
    assert!(page.contains(".TH wshost 1"), "{page}");
    for arg in command().get_arguments() {
        let name = arg.get_long().unwrap().replace('-', "\\-");
        assert!(page.contains(&name), "no {name} in\n{page}");
        for value in arg.get_default_values().iter().filter(|_| arg.get_action().takes_values()) {
            let default = format!("[default: {}]", value.to_str().unwrap().replace('-', "\\-"));
            assert!(value.is_empty() || page.contains(&default), "no {default} of {name} in\n{page}");
        }
    }
}
