//! The Python files of `python/`, carried inside the program.

use std::fs;
use std::io;
use std::path::Path;

use include_dir::{Dir, File, include_dir};

use crate::error::StartError;

static PYTHON_FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/python");

/// The packages that other programs have in their own trees.
const VENDORED: [&str; 2] = ["pywebsocket3", "mod_pywebsocket"];

/// Every file, its path below `python/`.
#[must_use]
pub fn all() -> Vec<&'static File<'static>> {
    let mut found = Vec::new();
    collect(&PYTHON_FILES, &mut found);
    found
}

fn collect(folder: &'static Dir<'_>, found: &mut Vec<&'static File<'static>>) {
    for file in folder.files() {
        if file.path().extension().is_some_and(|extension| extension == "py" || extension == "typed") {
            found.push(file);
        }
    }
    for folder in folder.dirs() {
        collect(folder, found);
    }
}

/// Writes the packages `pywebsocket3` and `mod_pywebsocket` below `directory`, which must be there. Files of the
/// same names are replaced, each as a whole; others stay.
pub fn vendor(directory: &Path) -> Result<(), StartError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Vendor { path, source }
    };
    if !directory.is_dir() {
        return Err(error(directory)(io::ErrorKind::NotADirectory.into()));
    }
    for file in all() {
        if !VENDORED.iter().any(|package| file.path().starts_with(package)) {
            continue;
        }
        let target = directory.join(file.path());
        let folder = target.parent().unwrap_or(directory);
        fs::create_dir_all(folder).map_err(error(folder))?;
        let unfinished = target.with_extension("new");
        fs::write(&unfinished, file.contents())
            .and_then(|()| fs::rename(&unfinished, &target))
            .map_err(error(&target))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendoring_replaces_files_and_keeps_others() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("pywebsocket3")).unwrap();
        for name in ["stream.py", "local.py"] {
            fs::write(directory.path().join("pywebsocket3").join(name), "old").unwrap();
        }
        vendor(directory.path()).unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("pywebsocket3/local.py"), "old");
        assert!(read("pywebsocket3/stream.py").contains("wshost._native"));
        assert!(read("pywebsocket3/handshake/hybi.py").contains("Handshaker"));
        assert!(read("mod_pywebsocket/standalone.py").contains("_main"));
        assert!(!directory.path().join("wshost").exists(), "the installed one must be found");
        let unfinished = |name: &str| {
            fs::read_dir(directory.path().join(name))
                .unwrap()
                .any(|entry| entry.unwrap().path().extension().is_some_and(|extension| extension == "new"))
        };
        assert!(!unfinished("pywebsocket3") && !unfinished("mod_pywebsocket"));
    }

    #[test]
    fn vendoring_needs_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let error = vendor(&missing).unwrap_err().to_string();
        assert!(error.starts_with(&format!("vendor {}: not a directory", missing.display())), "{error}");
    }
}
