//! What scripts say on stderr, in the log.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::ChildStderr;

use crate::logging::LOG_REQUEST;

/// Longest line of a script's stderr that is logged as one, in bytes.
const MAX_ERROR_LINE: u64 = 8 * 1024;

/// Writes what the script `name` says on stderr to the log, line by line.
pub(super) async fn log_errors(stderr: ChildStderr, name: String) {
    let name = one_line(&name);
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    // An error is an end, too.
    while let Ok(1..) = (&mut stderr).take(MAX_ERROR_LINE).read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line);
        tracing::warn!(target: LOG_REQUEST, "CGI script {name}: {}", one_line(text.trim_end()));
        line.clear();
    }
}

/// `text` without control characters: a script often repeats what its client sent.
fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_cannot_forge_a_log_line() {
        assert_eq!(
            one_line("a\tb\r\n[x] \u{1b}[0m \"\u{e9}\" \u{85}"),
            "a\\tb\\r\\n[x] \\u{1b}[0m \"\u{e9}\" \\u{85}"
        );
    }
}
