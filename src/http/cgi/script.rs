//! A script that was asked for: what it is called with.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A script that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The program.
    pub path: PathBuf,
    /// The document root, where it runs.
    pub root: PathBuf,
    /// Its path in the request, decoded: `/cgi-bin/a.sh`.
    pub name: OsString,
    /// What comes after the question mark, as sent.
    pub query: String,
    /// The environment that it inherits.
    pub inherited: Vec<(OsString, OsString)>,
}

impl Script {
    /// The name that it is called by, its `argv[0]`.
    #[must_use]
    pub fn program_name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// Its only argument: the query, unless that is a form's (RFC 3875 section 4.4). pywebsocket: not decoded
    /// but for the plus signs, and there even when it is empty.
    #[must_use]
    pub fn argument(&self) -> Option<OsString> {
        let argument = self.query.replace('+', " ");
        (!argument.contains('=')).then(|| argument.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        for (query, argument) in [("", Some("")), ("a+b%20c", Some("a b%20c")), ("a=b", None), ("=", None)] {
            let script = Script {
                path: "/r/cgi/a.sh".into(),
                root: "/r".into(),
                name: "/cgi/a.sh".into(),
                query: query.to_owned(),
                inherited: Vec::new(),
            };
            assert_eq!(script.argument().as_deref(), argument.map(OsStr::new), "{query}");
            assert_eq!(script.program_name(), "a.sh");
        }
    }
}
