//! `wshost replay`: sends what clients sent while `--trace` recorded (docs/trace.md) to a server, and compares what it
//! says.
//!
//! Must not import anything but `cli` and `error`.

mod comparison;
mod conversation;
mod recording;
mod session;
mod source;
mod trust;
mod wire;

use std::io;

use crate::cli::ReplayOptions;
use crate::error::StartError;
use session::{Manner, Session};
pub use trust::client_config;
use wire::Target;

/// How much of a resource is shown, in characters.
const SHOWN: usize = 1000;

/// Has the recorded connections again and prints a line for each; `false`: the server says something else.
pub fn run(options: ReplayOptions) -> Result<bool, StartError> {
    let ReplayOptions { file, server, connection, timing, timeout } = options;
    let recording = recording::read(&file, timeout)?;
    let count = recording.connections.len();
    if let Some(number) = connection.filter(|number| *number > count) {
        let problem = format!("{}: no connection {number}; it has those from 1 to {count}", file.display());
        return Err(StartError::Replay(problem));
    }
    if let Some(line) = recording.cut_off {
        tell(
            &mut io::stderr(),
            &format!("wshost: replay: {}: line {line} is cut off and left out", file.display()),
        );
    }
    for line in &recording.gaps {
        let file = file.display();
        tell(
            &mut io::stderr(),
            &format!(
                "wshost: replay: {file}: line {line}: records were dropped there; connections that were open are left out"
            ),
        );
    }
    let mut wanted = recording.connections.iter().enumerate();
    if wanted.all(|(index, found)| found.has_gap || connection.is_some_and(|number| number != index + 1)) {
        let problem = format!("{}: no connection without a gap; record again", file.display());
        return Err(StartError::Replay(problem));
    }
    let target = Target::new(server, timeout)?;
    let manner = Manner { only: connection.map(|number| number - 1), timing, limit: timeout };
    let (mut same, mut others) = (0, 0);
    let report = |index: usize, verdict: session::Verdict| {
        let resource: String = recording.connections[index].resource.chars().take(SHOWN).collect();
        let number = index + 1;
        let line = match verdict {
            Ok(count) => {
                same += 1;
                format!("{number} {resource}: ok, {count} bytes")
            }
            Err(problem) => {
                others += 1;
                format!("{number} {resource}: {problem}")
            }
        };
        tell(&mut io::stdout(), &line);
    };
    Session::new(&recording, &target, &manner, report).run()?;
    tell(&mut io::stdout(), &format!("{same} ok, {others} not"));
    Ok(others == 0)
}

/// Prints a line. A reader that has seen enough is no failure.
fn tell(to: &mut impl io::Write, line: &str) {
    let _ = writeln!(to, "{}", printable(line)).and_then(|()| to.flush());
}

/// `text`, which a server or a recording may have had a hand in, as one line that no terminal takes for commands.
fn printable(text: &str) -> String {
    let shown = |character: char| {
        let is_command = character.is_control() || is_invisible(character);
        if is_command { character.escape_unicode().to_string() } else { character.to_string() }
    };
    text.chars().map(shown).collect()
}

/// Whether a character changes the order in which others are shown, or ends a line.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
