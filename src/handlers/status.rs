//! What can be told of each handler file: plain data for the status page and `wshost check`.
//!
//! Must not import pyo3 or tokio.

use std::path::PathBuf;
use std::time::SystemTime;

use super::digest::Digest;
use super::loader::LoadError;
use super::snapshot::Snapshot;

/// A handler file at one moment.
#[derive(Debug, Clone)]
pub struct HandlerStatus {
    /// The file, below the canonical scan directory; a link is not resolved.
    pub path: PathBuf,
    /// The resource that the file's place gives; `None`: its name makes none.
    pub resource: Option<String>,
    /// Other resources that it serves.
    pub aliases: Vec<String>,
    /// When the version that serves now was loaded; `None`: nothing is served from the file.
    pub loaded_at: Option<SystemTime>,
    /// How often the file has loaded, from 1; 0: never.
    pub version: u64,
    /// SHA-256 of the bytes that the version was made from.
    pub digest: Option<Digest>,
    /// Why the file as it is now does not load.
    pub error: Option<LoadError>,
    /// Since when a version of it has been loading that takes long.
    pub loading_since: Option<SystemTime>,
    /// Connections that run the version that serves now.
    pub open_connections: usize,
    /// Connections that run earlier versions.
    pub old_connections: usize,
    /// The helper modules that the file imports, directly or through others: their files, sorted.
    pub depends_on: Vec<PathBuf>,
}

impl<S> Snapshot<S> {
    /// Every handler file, by path. The numbers of connections are those of now.
    #[must_use]
    pub fn status(&self) -> Vec<HandlerStatus> {
        let mut all: Vec<HandlerStatus> = Vec::new();
        for (resource, handler) in &self.handlers {
            if let Some(known) = all.iter_mut().find(|known| known.path == handler.path) {
                known.aliases.extend((*resource != handler.resource).then(|| resource.clone()));
                continue;
            }
            all.push(HandlerStatus {
                path: handler.path.clone(),
                resource: Some(handler.resource.clone()),
                aliases: (*resource != handler.resource).then(|| resource.clone()).into_iter().collect(),
                loaded_at: Some(handler.loaded_at),
                version: handler.version,
                digest: Some(handler.digest),
                error: handler.error.clone(),
                loading_since: None,
                open_connections: handler.usage.current(),
                old_connections: handler.usage.earlier(),
                depends_on: handler.depends_on.clone(),
            });
        }
        all.extend(self.broken.iter().map(|broken| HandlerStatus {
            path: broken.path.clone(),
            resource: broken.resource.clone(),
            aliases: Vec::new(),
            loaded_at: None,
            version: 0,
            digest: None,
            error: Some(broken.error.clone()),
            loading_since: None,
            open_connections: 0,
            old_connections: 0,
            depends_on: broken.depends_on.clone(),
        }));
        for (path, loading) in &self.loading {
            if let Some(known) = all.iter_mut().find(|known| known.path == *path) {
                known.loading_since = Some(loading.since);
                continue;
            }
            all.push(HandlerStatus {
                path: path.clone(),
                resource: loading.resource.clone(),
                aliases: Vec::new(),
                loaded_at: None,
                version: 0,
                digest: None,
                error: None,
                loading_since: Some(loading.since),
                open_connections: 0,
                old_connections: 0,
                depends_on: Vec::new(),
            });
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::digest::digest;
    use super::super::handler::InUse;
    use super::super::testing::{Place, text};
    use super::*;

    fn in_use(snapshot: &Snapshot<String>) -> InUse<String> {
        InUse::new(snapshot.resolve("/a").unwrap().unwrap())
    }

    #[test]
    fn tells_what_serves() {
        let begin = SystemTime::now();
        let place = Place::with(&[("a_wsh.py", "a1 needs h.py"), ("h.py", ""), ("sub/b_wsh.py", "b1")]);
        let registry = place.open();
        assert!(registry.add_alias("/0", "/a"));
        assert!(registry.add_alias("/z", "/a"));
        let [a, b] = &registry.snapshot().status()[..] else { panic!("not two files") };
        assert_eq!((&a.path, &b.path), (&place.path("a_wsh.py"), &place.path("sub/b_wsh.py")));
        assert_eq!((a.resource.as_deref(), b.resource.as_deref()), (Some("/a"), Some("/sub/b")));
        assert_eq!(a.aliases, ["/0", "/z"], "before and after the file's own resource");
        assert!(b.aliases.is_empty());
        assert_eq!((a.version, a.digest), (1, Some(digest(b"a1 needs h.py"))));
        assert!((begin..=SystemTime::now()).contains(&a.loaded_at.unwrap()));
        assert_eq!(a.depends_on, [place.path("h.py")]);
        assert!(b.depends_on.is_empty());
        assert!(a.error.is_none() && b.error.is_none());
    }

    #[test]
    fn counts_connections_by_version() {
        let place = Place::with(&[("a_wsh.py", "a1")]);
        let registry = place.open();
        let counts = || {
            let status = &registry.snapshot().status()[0];
            (status.version, status.open_connections, status.old_connections)
        };
        let first = in_use(&registry.snapshot());
        let also_first = in_use(&registry.snapshot());
        assert_eq!(counts(), (1, 2, 0));
        place.write("a_wsh.py", "a2");
        registry.refresh();
        assert_eq!(counts(), (2, 0, 2));
        let second = in_use(&registry.snapshot());
        drop(also_first);
        assert_eq!(counts(), (2, 1, 1));
        place.write("a_wsh.py", "a3");
        registry.refresh();
        assert_eq!(counts(), (3, 0, 2), "of all earlier versions");
        place.write("a_wsh.py", "FAIL");
        assert_eq!(registry.refresh().left_behind, 0);
        assert_eq!(counts(), (3, 0, 2));
        drop((first, second));
        assert_eq!(counts(), (3, 0, 0));
    }

    #[test]
    fn tells_why_a_file_does_not_load() {
        let place = Place::with(&[("a_wsh.py", "a1"), ("b_wsh.py", "FAIL b needs h.py")]);
        let registry = place.open();
        let good = registry.snapshot().status();
        let connection = in_use(&registry.snapshot());
        place.write("a_wsh.py", "FAIL a");
        registry.refresh();
        let snapshot = registry.snapshot();
        let [a, b] = &snapshot.status()[..] else { panic!("not two files") };
        let message = |status: &HandlerStatus| status.error.as_ref().unwrap().message.clone();
        assert_eq!(message(a), "FAIL a");
        assert_eq!(text(&snapshot, "/a").as_deref(), Some("a1"));
        let of_version = |status: &HandlerStatus| (status.version, status.digest, status.loaded_at);
        assert_eq!(of_version(a), of_version(&good[0]), "of the version that serves, not of the file");
        assert_eq!((a.open_connections, a.old_connections), (1, 0));
        assert_eq!(message(b), "FAIL b needs h.py");
        assert_eq!(b.resource.as_deref(), Some("/b"));
        assert_eq!(of_version(b), (0, None, None));
        assert_eq!(b.depends_on, [place.path("h.py")]);
        place.write("a_wsh.py", "a2");
        registry.refresh();
        let repaired = &registry.snapshot().status()[0];
        assert!(repaired.error.is_none());
        assert_eq!((repaired.version, repaired.old_connections), (2, 1));
        assert_eq!(Arc::strong_count(connection.handler()), 1, "nobody else holds the old version");
    }
}
