//! `wshost replay`: sends what clients sent while `--trace` recorded (docs/trace.md) to a server, and compares what it
//! says.
//!
//! - `recording` – the file, which `source` reads; `session` – all connections, in its order; `conversation` – one
//! - `comparison` – what came beside what was recorded; `wire` – a connection to the server; `trust` – its certificates
//! - `printable` – text for people; `error` – why there is nothing to replay
//!
//! Must not import anything but `cli` and `error`.

mod comparison;
mod conversation;
mod error;
mod printable;
mod recording;
mod session;
mod source;
mod trust;
mod wire;

use std::io;

use crate::cli::ReplayOptions;
use crate::error::StartError;
use error::ReplayError;
use printable::tell;
use session::{Manner, Session, Verdict};
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
        return Err(ReplayError::NoConnection { file, number, count }.end());
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
        return Err(ReplayError::OnlyGaps { file }.end());
    }
    let target = Target::new(server, timeout)?;
    let manner = Manner { only: connection.map(|number| number - 1), timing, limit: timeout };
    let (mut same, mut others) = (0, 0);
    let report = |index: usize, verdict: Verdict| {
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
    Session::new(&recording, &target, &manner, report).run().map_err(ReplayError::end)?;
    tell(&mut io::stdout(), &format!("{same} ok, {others} not"));
    Ok(others == 0)
}
