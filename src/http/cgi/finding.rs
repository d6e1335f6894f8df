//! The script that a request is for.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use super::rules::{RulesError, ScriptRules};
use super::script::Script;
use crate::http::files::{Files, relative_path};

/// The scripts of a server.
#[derive(Clone)]
pub struct Cgi {
    /// What is a script.
    pub rules: Arc<dyn ScriptRules>,
    /// Where paths of requests lead.
    pub files: Files,
}

impl Cgi {
    /// The script that `target` asks for: an executable file below one of the directories. Waits for the file
    /// system and for what the rules wait for. An error: the rules do not say.
    pub fn find(&self, target: &str) -> Result<Option<Script>, RulesError> {
        let (url_path, query) = target.split_once('?').unwrap_or((target, ""));
        let url_path = url_path.split('#').next().unwrap_or_default();
        let Some(script) = self.file_of(url_path, query) else { return Ok(None) };
        let is_script =
            is_below(&self.rules.directories()?, &script.name) && self.rules.is_executable(&script.path)?;
        Ok(is_script.then(|| Script { inherited: self.rules.environment(), ..script }))
    }

    /// The file that `url_path` leads to, as a script.
    fn file_of(&self, url_path: &str, query: &str) -> Option<Script> {
        let relative = relative_path(url_path).filter(|_| !url_path.ends_with('/'))?;
        let mut name = OsString::from("/");
        name.push(&relative);
        let root = fs::canonicalize(&self.files.root).ok()?;
        let is_file = self.files.look(&relative)?.is_file();
        let path = root.join(&relative);
        is_file.then(|| Script { path, root, name, query: query.to_owned(), inherited: Vec::new() })
    }
}

/// Whether one of `directories` is a parent of `name`, however far up; `/` is one of the files right below it
/// only, as in `http.server`.
fn is_below(directories: &[String], name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let mut parents = bytes.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').peekable();
    if parents.peek().is_none() {
        return directories.iter().any(|directory| directory == "/");
    }
    parents.any(|(end, _)| directories.iter().any(|directory| directory.as_bytes() == &bytes[..end]))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::http::cgi::FixedRules;

    fn rules(directories: &[&str]) -> Arc<dyn ScriptRules> {
        Arc::new(FixedRules::new(directories.iter().map(|&name| name.to_owned()).collect()))
    }

    fn found(cgi: &Cgi, target: &str) -> Option<Script> {
        cgi.find(target).expect("fixed rules")
    }

    /// Scripts in `cgi` and `cgi/deep`, one that is not executable, and one that lies elsewhere.
    fn tree() -> (tempfile::TempDir, Cgi) {
        let outside = tempfile::tempdir().expect("a directory");
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("cgi/deep")).expect("directories");
        fs::create_dir(root.join("other")).expect("a directory");
        for (file, mode) in [
            ("cgi/a.sh", 0o755),
            ("cgi/deep/b c", 0o711),
            ("cgi/plain", 0o644),
            ("other/a", 0o755),
            ("../x", 0o755),
        ] {
            fs::write(root.join(file), "").expect("a file");
            fs::set_permissions(root.join(file), fs::Permissions::from_mode(mode)).expect("a mode");
        }
        symlink("../../x", root.join("cgi/link")).expect("a link");
        symlink("../other/a", root.join("cgi/inside")).expect("a link");
        let files = Files { root, allow_outside_root: false, hide_handlers: false };
        (outside, Cgi { rules: rules(&["/cgi", "other/"]), files })
    }

    #[test]
    fn executable_files_below_the_directories() {
        let (_outside, cgi) = tree();
        for (target, expected) in [
            ("/cgi/a.sh", Some(("/cgi/a.sh", ""))),
            ("/cgi/a.sh?", Some(("/cgi/a.sh", ""))),
            ("/cgi/a.sh?b=c?d#e", Some(("/cgi/a.sh", "b=c?d#e"))),
            ("/cgi/a.sh#e", Some(("/cgi/a.sh", ""))),
            ("/%63gi//./a.sh?1..2", Some(("/cgi/a.sh", "1..2"))),
            ("/cgi/deep/b%20c", Some(("/cgi/deep/b c", ""))),
            ("/cgi/inside", Some(("/cgi/inside", ""))),
            ("/cgi", None),
            ("/cgi/", None),
            ("/cgi/deep", None),
            ("/cgi/plain", None),
            ("/cgi/missing", None),
            ("/cgi/a.sh/", None),
            ("/cgi/a.sh/info", None),
            ("/cgi/link", None),
            ("/other/a", None),
            ("/CGI/a.sh", None),
            ("/../x", None),
        ] {
            let found = found(&cgi, target);
            let found =
                found.as_ref().map(|script| (script.name.to_str().expect("UTF-8"), script.query.as_str()));
            assert_eq!(found, expected, "{target}");
        }
    }

    #[test]
    fn links_may_lead_out_when_that_is_allowed() {
        let (_outside, mut cgi) = tree();
        cgi.files.allow_outside_root = true;
        assert!(found(&cgi, "/cgi/link").is_some());
    }

    #[test]
    fn the_root_and_directories_below_others() {
        let (_outside, mut cgi) = tree();
        fs::copy(cgi.files.root.join("cgi/a.sh"), cgi.files.root.join("top")).expect("a copy");
        for (directory, target, is_found) in [
            ("/", "/top", true),
            ("/", "/cgi/a.sh", false),
            ("/cgi/deep", "/cgi/deep/b%20c", true),
            ("/cgi/deep", "/cgi/a.sh", false),
            ("/cgi/", "/cgi/a.sh", false),
            ("", "/top", false),
        ] {
            cgi.rules = rules(&[directory]);
            assert_eq!(found(&cgi, target).is_some(), is_found, "{directory} {target}");
        }
    }

    /// Takes every file in `/cgi` for a script, but does not know about some.
    struct Asking;

    impl ScriptRules for Asking {
        fn directories(&self) -> Result<Vec<String>, RulesError> {
            Ok(vec!["/cgi".to_owned()])
        }

        fn is_executable(&self, path: &std::path::Path) -> Result<bool, RulesError> {
            if path.ends_with("deep/b c") { Err(RulesError("asked".to_owned())) } else { Ok(true) }
        }

        fn environment(&self) -> Vec<(OsString, OsString)> {
            vec![("A".into(), "b".into())]
        }
    }

    #[test]
    fn rules_are_asked_about_files_in_their_directories() {
        let (_outside, mut cgi) = tree();
        cgi.rules = Arc::new(Asking);
        let script = found(&cgi, "/cgi/plain").expect("a script");
        assert_eq!(script.inherited, [("A".into(), "b".into())]);
        cgi.find("/cgi/deep/b%20c").expect_err("nobody knows");
        for target in ["/cgi/link", "/cgi/missing", "/cgi/deep", "/other/a"] {
            assert_eq!(found(&cgi, target), None, "{target}");
        }
    }
}
