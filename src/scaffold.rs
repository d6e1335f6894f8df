//! `wshost new`: writes a handler and a test for it. Must not import anything but `error`.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::error::StartError;

const HANDLER: &str = include_str!("scaffold/handler.py.in");
const TEST: &str = include_str!("scaffold/test.py.in");

/// Writes `handlers/NAME_wsh.py` and `tests/test_NAME.py` below `directory`. Files that are there stay, and are
/// an error.
pub fn write(name: &str, directory: &Path) -> Result<(), StartError> {
    let resource = name.trim_matches('/');
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let handler = directory.join("handlers").join(format!("{resource}_wsh.py"));
    if !resource.split('/').all(is_part) {
        let problem =
            "not a name of a resource; use letters, digits, `-`, `_` and `/`, such as room/chat".to_owned();
        return Err(StartError::New { path: name.into(), problem });
    }
    let identifier = resource.replace(['/', '-', '.'], "_");
    let test_file = directory.join("tests").join(format!("test_{identifier}.py"));
    for (path, template) in [(&handler, HANDLER), (&test_file, TEST)] {
        let text = template.replace("@RESOURCE@", resource).replace("@NAME@", &identifier);
        create(path, &text).map_err(|source| StartError::New {
            path: path.clone(),
            problem: match source.kind() {
                io::ErrorKind::AlreadyExists => "is there already; take another name or delete it".to_owned(),
                _ => format!("{source}; name a folder that can be written with --into"),
            },
        })?;
        println!("{}", path.display());
    }
    Ok(())
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}
