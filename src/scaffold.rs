//! `wshost new`: writes a handler and a test for it. Must not import anything but `error`.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::error::{ScaffoldError, StartError};

const HANDLER: &str = include_str!("scaffold/handler.py.in");
const TEST: &str = include_str!("scaffold/test.py.in");

/// Writes `handlers/RESOURCE_wsh.py` and a test for it below `directory`. Files that are there stay, and are an error.
pub fn write(resource: &str, directory: &Path) -> Result<(), StartError> {
    let handler = directory.join("handlers").join(format!("{resource}_wsh.py"));
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
