//! Files of options, in Python's dialect of INI.

use wshost::cli::{IniError, ini_section};

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
        Err(IniError::Value { key, .. }) => assert!(!key.is_empty()),
    }
}

fn check(entries: &[(String, String)], lines: &str) {
    assert!(lines.contains("[pywebsocket]"));
    for (index, (name, value)) in entries.iter().enumerate() {
        assert!(!name.is_empty() && name.trim() == name && !name.contains(['=', ':', '\n']), "{name:?}");
        assert_eq!(*name, name.to_lowercase());
        assert!(entries[..index].iter().all(|(other, _)| other != name), "{name:?} is there twice");
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
    if entries.iter().all(|(name, value)| is_plain(value) && is_name(name)) {
        let mut written = format!("[{NAME}]\n");
        for (name, value) in entries {
            let value = value.replace('%', "%%").replace('\n', "\n  ");
            written += &[name, " = ", &value, "\n"].concat();
        }
        assert_eq!(ini_section(&written, NAME).as_deref(), Ok(entries), "{written:?}");
    }
}
