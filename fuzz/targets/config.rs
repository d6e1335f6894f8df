//! Files of options, in Python's dialect of INI.

use wshost::cli::{Entry, IniError, ini_section};

/// The section that is asked for.
const NAME: &str = "pywebsocket";

/// Takes `data` for such a file.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let found = ini_section(&text, NAME);
    // All line ends are the same, and so is one more at the end.
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    for other in [lines.clone(), lines.replace('\n', "\r\n"), lines.replace('\n', "\r"), lines.clone() + "\n"]
    {
        assert_eq!(ini_section(&other, NAME), found, "{other:?}");
    }
    match found {
        Ok(entries) => check(&entries, &lines),
        Err(IniError::Line { number, .. }) => assert!((1..=lines.split('\n').count()).contains(&number)),
        Err(IniError::NoSection(name)) => assert_eq!(name, NAME),
        Err(IniError::Value { line, key, .. }) => assert!(line > 1 && !key.is_empty()),
    }
}

fn check(entries: &[Entry], lines: &str) {
    assert!(lines.contains("[pywebsocket]"));
    for (index, Entry { line, key: name, value }) in entries.iter().enumerate() {
        let place = lines.split('\n').nth(line - 1).unwrap_or_default().to_lowercase();
        assert!(place.trim_start_matches('\u{feff}').trim_start().starts_with(name), "{name:?} in {place:?}");
        assert!(!name.is_empty() && name.trim() == name && !name.contains(['=', ':', '\n']), "{name:?}");
        assert_eq!(*name, name.to_lowercase());
        assert!(entries[..index].iter().all(|other| other.key != *name), "{name:?} is there twice");
        // What a value refers to may be nothing, and then a space is the first that is left.
        assert!(!value.starts_with(' ') || lines.contains("%("), "{value:?}");
    }
    // Written down again it is the same: `%` doubled, further lines indented.
    let is_plain = |value: &str| {
        let mut lines = value.split('\n').skip(1);
        lines.all(|line| !line.is_empty() && line == line.trim() && !line.starts_with(['#', ';']))
            && value == value.trim()
    };
    let is_name = |name: &str| !name.starts_with(['#', ';', '[']) && name.to_lowercase() == name;
    if entries.iter().all(|entry| is_plain(&entry.value) && is_name(&entry.key)) {
        let mut written = format!("[{NAME}]\n");
        for Entry { key, value, .. } in entries {
            let value = value.replace('%', "%%").replace('\n', "\n  ");
            written += &[key, " = ", &value, "\n"].concat();
        }
        let again = ini_section(&written, NAME).unwrap_or_default();
        let pairs = |entries: &[Entry]| -> Vec<(String, String)> {
            entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
        };
        assert_eq!(pairs(&again), pairs(entries), "{written:?}");
    }
}
