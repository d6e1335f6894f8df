//! Python's dialect of INI files, which pywebsocket's `--config` is written in: what `configparser.ConfigParser`
//! of Python 3.11 reads with its defaults.
//!
//! A parser of our own because the crates for INI read other dialects: interpolation, `[DEFAULT]`,
//! duplicates, comments and continuation lines differ. Must not import anything.

use std::collections::HashSet;

/// The section whose entries every other section has, too.
const DEFAULTS: &str = "DEFAULT";
/// How deep values may refer to values that refer to values.
const MAX_DEPTH: u32 = 10;

/// Why a file cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IniError {
    /// A line is none that Python would take.
    #[error("line {number}: {wrong}")]
    Line {
        /// Its number, from 1.
        number: usize,
        /// What is wrong with it, and what would be right.
        wrong: &'static str,
    },
    /// The section is not there.
    #[error("there is no section [{0}]; write [{0}] above the options")]
    NoSection(String),
    /// The value of an entry cannot be put together.
    #[error("line {line}: {key}: {wrong}; write %% for a percent sign")]
    Value {
        /// The line that the entry begins in, from 1.
        line: usize,
        /// The entry's name.
        key: String,
        /// What is wrong with its value.
        wrong: ReferenceError,
    },
}

/// Why a value that refers to others cannot be put together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Python would go no further.
    #[error("it refers to itself, or too deep")]
    TooDeep,
    /// A percent sign is none that Python would take.
    #[error("a % must be followed by % or (NAME)s")]
    Malformed,
    /// There is no entry of this name.
    #[error("there is no {0} for %({0})s")]
    Unknown(String),
}

/// One entry of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The line that it begins in, from 1.
    pub line: usize,
    /// Its name, in lower case.
    pub key: String,
    /// Its value; several lines are joined with line feeds.
    pub value: String,
}

/// A section as written.
#[derive(Default)]
struct Section {
    name: String,
    entries: Vec<Entry>,
}

/// The entries of section `name` in `text`: those of `[DEFAULT]` first, then the others in the order of the
/// file, with `%(name)s` replaced.
pub fn ini_section(text: &str, name: &str) -> Result<Vec<Entry>, IniError> {
    let sections = read(text)?;
    let named = |wanted: &str| sections.iter().find(|section| section.name == wanted);
    let section = named(name).ok_or_else(|| IniError::NoSection(name.to_owned()))?;
    let mut raw: Vec<Entry> = Vec::new();
    let defaults = named(DEFAULTS).filter(|_| name != DEFAULTS);
    for entry in defaults.into_iter().chain([section]).flat_map(|section| &section.entries) {
        let entry = Entry { value: entry.value.trim_end().to_owned(), ..entry.clone() };
        match raw.iter_mut().find(|known| known.key == entry.key) {
            Some(default) => *default = entry,
            None => raw.push(entry),
        }
    }
    raw.iter()
        .map(|entry| {
            let mut value = String::new();
            interpolate(&raw, &entry.value, 1, &mut value).map_err(|wrong| IniError::Value {
                line: entry.line,
                key: entry.key.clone(),
                wrong,
            })?;
            Ok(Entry { value, ..entry.clone() })
        })
        .collect()
}

/// All sections, each once.
fn read(text: &str) -> Result<Vec<Section>, IniError> {
    let mut sections: Vec<Section> = Vec::new();
    // Where the current section is, and whether an entry of it may go on in the next line.
    let mut current: Option<usize> = None;
    let mut entry_is_open = false;
    let mut indent = 0;
    let mut seen = HashSet::new();
    // Python opens the file with universal newlines. The mark is what Windows editors begin UTF-8 with.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    for (number, line) in (1..).zip(text.split('\n')) {
        let wrong = |wrong| IniError::Line { number, wrong };
        let content = line.trim();
        let open_entry = current
            .filter(|_| entry_is_open)
            .and_then(|index| sections.get_mut(index))
            .and_then(|section| section.entries.last_mut());
        if content.starts_with(['#', ';']) {
            continue;
        }
        if content.is_empty() {
            if let Some(entry) = open_entry {
                entry.value.push('\n');
            }
            continue;
        }
        let line_indent = line.chars().take_while(|c| c.is_whitespace()).count();
        if let Some(entry) = open_entry.filter(|_| line_indent > indent) {
            entry.value.push('\n');
            entry.value.push_str(content);
            continue;
        }
        indent = line_indent;
        if let Some(name) = header(content) {
            let known = sections.iter().position(|section| section.name == name);
            if known.is_some() && name != DEFAULTS {
                return Err(wrong("this section was there before; write all of it in one place"));
            }
            current = Some(known.unwrap_or(sections.len()));
            if known.is_none() {
                sections.push(Section { name: name.to_owned(), entries: Vec::new() });
            }
            entry_is_open = false;
            continue;
        }
        let Some(index) = current else {
            return Err(wrong("a section header, such as [pywebsocket], must come first"));
        };
        let (key, value) = content.split_once(['=', ':']).ok_or(wrong("must be NAME = VALUE"))?;
        let key = key.trim_end().to_lowercase();
        if key.is_empty() {
            return Err(wrong("there is no name before the value"));
        }
        if !seen.insert((index, key.clone())) {
            return Err(wrong("this option was there before; keep one of them"));
        }
        sections[index].entries.push(Entry { line: number, key, value: value.trim().to_owned() });
        entry_is_open = true;
    }
    Ok(sections)
}

/// The name in a section header. What follows the last bracket is not looked at.
fn header(content: &str) -> Option<&str> {
    let inside = content.strip_prefix('[')?;
    inside.rfind(']').filter(|end| *end > 0).map(|end| &inside[..end])
}

/// Appends `value` to `whole`, with what it refers to in `entries` put in.
fn interpolate(entries: &[Entry], value: &str, depth: u32, whole: &mut String) -> Result<(), ReferenceError> {
    // Python: a value that refers to nothing is no step.
    if depth > MAX_DEPTH && value.contains('%') {
        return Err(ReferenceError::TooDeep);
    }
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        whole.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            whole.push('%');
            rest = after;
            continue;
        }
        let reference = after.strip_prefix('(').and_then(|inside| inside.split_once(")s"));
        // A name ends at the first bracket.
        let Some((name, after)) = reference.filter(|(name, _)| !name.is_empty() && !name.contains(')'))
        else {
            return Err(ReferenceError::Malformed);
        };
        let name = name.to_lowercase();
        let Some(entry) = entries.iter().find(|entry| entry.key == name) else {
            return Err(ReferenceError::Unknown(name));
        };
        interpolate(entries, &entry.value, depth + 1, whole)?;
        rest = after;
    }
    whole.push_str(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files, and what `ConfigParser().items("pywebsocket")` of Python 3.11 gives; `None`: it raises.
    type Table<'a> = &'a [(&'a str, Option<&'a [(&'a str, &'a str)]>)];

    fn pairs(entries: Vec<Entry>) -> Vec<(String, String)> {
        entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    #[test]
    fn entries_know_their_lines() {
        let text = "[DEFAULT]\na=1\nb=2\n[pywebsocket]\n# c\nc=x\n  y\n\na=3\n";
        let lines =
            ini_section(text, "pywebsocket").unwrap().into_iter().map(|entry| (entry.key, entry.line));
        let expected = [("a", 9), ("b", 3), ("c", 6)].map(|(key, line)| (key.to_owned(), line));
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn reads_what_python_reads() {
        #[rustfmt::skip]
        let table: Table = &[
            ("[pywebsocket]\nport=80\n", Some(&[("port", "80")])),
            ("[pywebsocket]\nport : 80\n", Some(&[("port", "80")])),
            ("[pywebsocket]\nPort = 80\n", Some(&[("port", "80")])),
            ("[pywebsocket]\n  port = 80\n", Some(&[("port", "80")])),
            ("[pywebsocket]\na=1\nb=2\n", Some(&[("a", "1"), ("b", "2")])),
            ("[pywebsocket]\na=1 # not a comment\n", Some(&[("a", "1 # not a comment")])),
            ("[pywebsocket]\na=1 ; not a comment\n", Some(&[("a", "1 ; not a comment")])),
            ("[pywebsocket]\n# c\n; d\na=1\n", Some(&[("a", "1")])),
            ("[pywebsocket]\na=x\n  y\n", Some(&[("a", "x\ny")])),
            ("[pywebsocket]\na=x\n\n  y\n", Some(&[("a", "x\n\ny")])),
            ("[pywebsocket]\na=x\n  # c\n  y\n", Some(&[("a", "x\ny")])),
            ("[pywebsocket]\na=\n  y\n", Some(&[("a", "\ny")])),
            ("[pywebsocket]\na=%%x\n", Some(&[("a", "%x")])),
            ("[pywebsocket]\nb=v\na=%(b)s/x\n", Some(&[("b", "v"), ("a", "v/x")])),
            ("[pywebsocket]\na=%x\n", None),
            ("[pywebsocket]\na=%(nope)s\n", None),
            ("[pywebsocket]\na=%(a)s\n", None),
            ("[pywebsocket]\nA=1\nb=%(A)s\n", Some(&[("a", "1"), ("b", "1")])),
            ("[pywebsocket]\na=1\na=2\n", None),
            ("[pywebsocket]\na=1\nA=2\n", None),
            ("[pywebsocket]\na=1\n[pywebsocket]\nb=2\n", None),
            ("[DEFAULT]\na=1\n[pywebsocket]\nb=2\n", Some(&[("a", "1"), ("b", "2")])),
            ("[DEFAULT]\na=1\n[pywebsocket]\na=2\n", Some(&[("a", "2")])),
            ("[other]\na=1\n", None),
            ("a=1\n[pywebsocket]\n", None),
            ("", None),
            ("[pywebsocket]\nnovalue\n", None),
            ("[pywebsocket]\n=x\n", None),
            ("[pywebsocket]\na=\n", Some(&[("a", "")])),
            ("[pywebsocket]\na = b = c\n", Some(&[("a", "b = c")])),
            ("[pywebsocket]\na: b = c\n", Some(&[("a", "b = c")])),
            ("[pywebsocket]\na=\"q\"\n", Some(&[("a", "\"q\"")])),
            ("[pywebsocket]\na b=1\n", Some(&[("a b", "1")])),
            ("[ pywebsocket ]\na=1\n", None),
            ("[pywebsocket] trailing\na=1\n", Some(&[("a", "1")])),
            ("[pywebsocket]x]\na=1\n", None),
            ("[pywebsocket]\na=1\r\nb=2\r\n", Some(&[("a", "1"), ("b", "2")])),
            ("[pywebsocket]\na=1\rb=2\r", Some(&[("a", "1"), ("b", "2")])),
            ("[pywebsocket]\na=x\\n\n", Some(&[("a", "x\\n")])),
            ("[pywebsocket]\na=1\n [other]\nb=2\n", Some(&[("a", "1\n[other]"), ("b", "2")])),
            ("[pywebsocket]\na=1\n[other]\nb=2\n", Some(&[("a", "1")])),
            ("[pywebsocket]\n a=1\n  b=2\nc=3\n", Some(&[("a", "1\nb=2"), ("c", "3")])),
            ("[pywebsocket]\na=x\n\n\n", Some(&[("a", "x")])),
            ("[pywebsocket]\na=x\n\n\nb=1\n", Some(&[("a", "x"), ("b", "1")])),
            ("[pywebsocket]\na=1\n\ttab=2\n", Some(&[("a", "1\ntab=2")])),
            ("[DEFAULT]\na=1\n[DEFAULT]\nb=2\n[pywebsocket]\n", Some(&[("a", "1"), ("b", "2")])),
            ("[DEFAULT]\na=1\n[DEFAULT]\na=2\n[pywebsocket]\n", None),
            ("[pywebsocket]\nbad\na=1\nbad2\n", None),
            ("[pywebsocket]\na=%(b)s\nb=%(c)s\nc=%%(d)s\n", Some(&[("a", "%(d)s"), ("b", "%(d)s"), ("c", "%(d)s")])),
            ("[DEFAULT]\nx=%(y)s\n[pywebsocket]\ny=5\n", Some(&[("x", "5"), ("y", "5")])),
            ("[PyWebSocket]\na=1\n", None),
            ("[pywebsocket]\na=é\n", Some(&[("a", "é")])),
            ("[pywebsocket]\na=x\n  y = z\n", Some(&[("a", "x\ny = z")])),
            ("[pywebsocket]\na=1\n [", Some(&[("a", "1\n[")])),
            ("[pywebsocket]\n[]\na=1\n", None),
            ("[pywebsocket]\na=%(b\n", None),
            ("[pywebsocket]\na=%\n", None),
            ("[pywebsocket]\na=100%\n", None),
            ("[pywebsocket]\nrem=1\n", Some(&[("rem", "1")])),
            ("[pywebsocket]\na=x\n ;c\n  y\n", Some(&[("a", "x\ny")])),
            ("[pywebsocket]\nport\n = 80\n", None),
            ("[pywebsocket]\na=%()s\n", None),
            ("[pywebsocket]\nb)c=1\na=%(b)c)s\n", None),
            ("[pywebsocket]\nb=\na=%(b)s x\n", Some(&[("b", ""), ("a", " x")])),
        ];
        for (text, expected) in table {
            let entries = ini_section(text, "pywebsocket").ok().map(pairs);
            let expected = expected.map(|entries| {
                entries
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect::<Vec<_>>()
            });
            assert_eq!(entries, expected, "{text:?}");
        }
    }

    #[test]
    fn values_refer_to_others_ten_deep() {
        let chain = |length: usize| {
            let mut lines = vec!["[pywebsocket]".to_owned()];
            lines.extend((0..length).map(|link| format!("a{link}=%(a{})s", link + 1)));
            lines.push(format!("a{length}=x"));
            ini_section(&lines.join("\n"), "pywebsocket")
        };
        let entries = chain(10).unwrap();
        assert!(entries.len() == 11 && entries.iter().all(|entry| entry.value == "x"), "{entries:?}");
        assert_eq!(
            chain(11).unwrap_err().to_string().split(';').next(),
            Some("line 2: a0: it refers to itself, or too deep")
        );
    }

    #[test]
    fn the_defaults_can_be_asked_for() {
        let entries = ini_section("[DEFAULT]\na=1\n[other]\na=2\n", "DEFAULT").unwrap();
        assert_eq!(pairs(entries), [("a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn takes_the_mark_that_windows_editors_begin_with() {
        let entries = ini_section("\u{feff}[pywebsocket]\na=1\n", "pywebsocket").unwrap();
        assert_eq!(pairs(entries), [("a".to_owned(), "1".to_owned())]);
    }
}
