//! The alias file (`--websock-handlers-map-file`): lines of `ALIAS RESOURCE`.
//!
//! Reads bytes into aliases and complaints; touches no file. Must not import anything of the crate.

use std::path::Path;

/// One line of the file: requests for `alias` are served by the handler of `resource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The resource that requests name.
    pub alias: String,
    /// The resource whose handler answers.
    pub resource: String,
    /// Line number in the file, from 1.
    pub line: usize,
}

/// Something wrong in the alias file. It costs the line, never the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapProblem {
    /// A line that cannot be read (pywebsocket logs a warning).
    Line(String),
    /// A line whose resource has no handler (pywebsocket logs an error).
    Target(String),
}

impl std::fmt::Display for MapProblem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Line(text) | Self::Target(text)) = self;
        formatter.write_str(text)
    }
}

/// What the alias file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MapFile {
    /// The aliases in the order of the file; later ones win.
    pub aliases: Vec<Alias>,
    /// One for each line that says nothing.
    pub problems: Vec<MapProblem>,
}

impl MapFile {
    /// Reads the file's `bytes`; `path` is for the complaints.
    ///
    /// pywebsocket (`_alias_handlers`): lines that are blank or have `#` in the first column are passed over; every
    /// other one is two words with nothing before or after them. A line that is not UTF-8 is a complaint about
    /// that line (pywebsocket ends the start).
    #[must_use]
    pub fn parse(path: &Path, bytes: &[u8]) -> Self {
        let mut file = Self::default();
        for (line, text) in (1..).zip(lines(bytes)) {
            match std::str::from_utf8(text).map(read_line) {
                Ok(Line::Nothing) => {}
                Ok(Line::Alias(alias, resource)) => {
                    file.aliases.push(Alias { alias: alias.to_owned(), resource: resource.to_owned(), line });
                }
                Ok(Line::Wrong) => file.problems.push(MapProblem::Line(format!(
                    "Wrong format in map file: {}:{line}: {:?}; write ALIAS RESOURCE, no spaces around them",
                    path.display(),
                    String::from_utf8_lossy(text),
                ))),
                Err(_) => file.problems.push(MapProblem::Line(format!(
                    "Wrong format in map file: {}:{line}: {:?} is not UTF-8; save the file as UTF-8",
                    path.display(),
                    String::from_utf8_lossy(text),
                ))),
            }
        }
        file
    }
}

/// The complaint about an alias in the file `path` whose resource has no handler.
#[must_use]
pub fn unknown_target(path: &Path, alias: &Alias) -> MapProblem {
    MapProblem::Target(format!(
        "{}:{}: No handler for: '{}'; name the resource of a handler that loads",
        path.display(),
        alias.line,
        alias.resource,
    ))
}

/// What one line says.
enum Line<'a> {
    Nothing,
    Alias(&'a str, &'a str),
    Wrong,
}

fn read_line(line: &str) -> Line<'_> {
    if line.starts_with('#') || line.chars().all(is_space) {
        return Line::Nothing;
    }
    let Some((alias, rest)) = line.split_once(is_space) else { return Line::Wrong };
    let resource = rest.trim_start_matches(is_space);
    if alias.is_empty() || resource.is_empty() || resource.contains(is_space) {
        return Line::Wrong;
    }
    Line::Alias(alias, resource)
}

/// What Python's `\s` matches: Unicode's white space and four control characters.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The lines as Python's text mode gives them: ended by LF, CR LF or CR.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest.take()?;
        let Some(end) = bytes.iter().position(|&b| b == b'\n' || b == b'\r') else { return Some(bytes) };
        let next = if bytes[end..].starts_with(b"\r\n") { end + 2 } else { end + 1 };
        rest = Some(&bytes[next..]);
        Some(&bytes[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> MapFile {
        MapFile::parse(Path::new("map.txt"), bytes)
    }

    fn pairs(file: &MapFile) -> Vec<(&str, &str, usize)> {
        file.aliases.iter().map(|a| (a.alias.as_str(), a.resource.as_str(), a.line)).collect()
    }

    #[test]
    fn reads_two_words_a_line() {
        let file = parsed(b"/ /echo\n# a comment\n\n \t\n/a\t \t/b\r\n/c /d\r/e /f");
        assert_eq!(pairs(&file), [("/", "/echo", 1), ("/a", "/b", 5), ("/c", "/d", 6), ("/e", "/f", 7)]);
        assert_eq!(file.problems, []);
    }

    #[test]
    fn white_space_is_pythons() {
        let file = parsed("/a\u{1c}/b\n/c\u{1f}/d\n/e\u{a0}/f\n\u{1d}\n".as_bytes());
        assert_eq!(pairs(&file), [("/a", "/b", 1), ("/c", "/d", 2), ("/e", "/f", 3)]);
        assert_eq!(file.problems, []);
        // Not among it.
        assert_eq!(parsed(b"/a\x1b/b\n").problems.len(), 1);
    }

    #[test]
    fn complains_about_other_lines_by_file_and_number() {
        // Each checked against the reference's pattern: indented, space after, one word, three words.
        let wrong: [&[u8]; 8] =
            [b" /a /b", b" /a", b"/a /b ", b"/a ", b"/a", b"/a /b /c", b" # indented", b"/a\xff /b"];
        for line in wrong {
            let file = parsed(&[b"/x /y\n", line, b"\n/z /y\n"].concat());
            assert_eq!(pairs(&file), [("/x", "/y", 1), ("/z", "/y", 3)], "{line:?}");
            let [MapProblem::Line(text)] = &file.problems[..] else { panic!("{line:?}: {file:?}") };
            assert!(text.starts_with("Wrong format in map file: map.txt:2: "), "{text}");
            assert_eq!(file.problems[0].to_string(), *text);
        }
    }

    #[test]
    fn names_the_target_that_is_not_there() {
        let file = parsed(b"/a /nothing\n");
        let MapProblem::Target(text) = unknown_target(Path::new("map.txt"), &file.aliases[0]) else {
            panic!("not an error");
        };
        assert!(text.starts_with("map.txt:1: No handler for: '/nothing'"), "{text}");
    }
}
