//! Map files: lines of an alias and a resource.

use std::path::Path;

use wshost::handlers::{Alias, MapFile, MapProblem};

/// Takes `data` for such a file.
pub fn run(data: &[u8]) {
    let path = Path::new("map");
    let file = MapFile::parse(path, data);
    assert_eq!(file, model(data));
    let written: Vec<u8> = file
        .aliases
        .iter()
        .flat_map(|alias| format!("{} {}\r\n", alias.alias, alias.resource).into_bytes())
        .collect();
    let again = MapFile::parse(path, &written);
    assert_eq!(again.problems, []);
    let pairs = |file: &MapFile| -> Vec<(String, String)> {
        file.aliases.iter().map(|alias| (alias.alias.clone(), alias.resource.clone())).collect()
    };
    // An alias that begins with `#` cannot be: its line is a comment.
    assert_eq!(pairs(&again), pairs(&file));
}

/// The same with the means of the standard library: lines of text, words, and what is around them.
fn model(data: &[u8]) -> MapFile {
    let mut file = MapFile::default();
    // Line ends are ASCII, so they are where they are in any text, valid or not.
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut bytes = data.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' if bytes.peek() == Some(&&b'\n') => {}
            b'\r' | b'\n' => lines.push(Vec::new()),
            _ => lines.last_mut().expect("one").push(*byte),
        }
    }
    for (line, bytes) in (1..).zip(lines) {
        let lossy = String::from_utf8_lossy(&bytes).into_owned();
        let Ok(text) = String::from_utf8(bytes) else {
            file.problems.push(MapProblem::Line(format!(
                "Wrong format in map file: map:{line}: {lossy:?} is not UTF-8; save the file as UTF-8"
            )));
            continue;
        };
        // Python's white space is Unicode's and four separators.
        let text: String =
            text.chars().map(|c| if ('\x1c'..='\x1f').contains(&c) { ' ' } else { c }).collect();
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            _ if text.starts_with('#') => {}
            [] => {}
            [alias, resource] if text == text.trim() => {
                file.aliases.push(Alias { alias: alias.to_owned(), resource: resource.to_owned(), line });
            }
            _ => file.problems.push(MapProblem::Line(format!(
                "Wrong format in map file: map:{line}: {lossy:?}; write ALIAS RESOURCE, no spaces around them"
            ))),
        }
    }
    file
}
