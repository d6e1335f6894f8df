//! `wshost new`: writes a handler and a test for it. Must not import anything but `error`.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::error::{ScaffoldError, StartError};

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
    if resource.is_empty() {
        return Err(StartError::New(ScaffoldError::NoName));
    }
    if !resource.split('/').all(is_part) {
        return Err(StartError::New(ScaffoldError::Name(name.to_owned())));
    }
    let identifier = resource.replace(['/', '-', '.'], "_");
    let test_file = directory.join("tests").join(format!("test_{identifier}.py"));
    for (path, template) in [(&handler, HANDLER), (&test_file, TEST)] {
        let text = template.replace("@RESOURCE@", resource).replace("@NAME@", &identifier);
        create(path, &text).map_err(|source| {
            let path = path.clone();
            StartError::New(match source.kind() {
                io::ErrorKind::AlreadyExists => ScaffoldError::Exists(path),
                _ => ScaffoldError::Write { path, source },
            })
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
