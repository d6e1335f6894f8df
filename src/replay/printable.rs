//! Text for people's terminals. Must not import anything of the crate.

use std::io;

/// Prints a line. A reader that has seen enough is no failure.
pub(super) fn tell(to: &mut impl io::Write, line: &str) {
    let _ = writeln!(to, "{}", printable(line)).and_then(|()| to.flush());
}

/// `text`, which a server or a recording may have had a hand in, as one line that no terminal takes for commands.
pub(super) fn printable(text: &str) -> String {
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
