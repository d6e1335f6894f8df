//! For the tests of this folder: a loader without Python, and a handler directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::loader::{LoadError, Loaded, Loader};
use super::registry::Registry;
use super::snapshot::Snapshot;
use crate::config::HandlersConfig;

/// No test waits longer for something that should happen.
pub const TEST_LIMIT: Duration = Duration::from_secs(20);

/// A suite is the file's text. A text that begins with `FAIL` does not load; what follows `needs ` names a
/// helper module beside the file.
#[derive(Clone, Default)]
pub struct StubLoader {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    loads: AtomicUsize,
    running: AtomicUsize,
    overlaps: AtomicUsize,
    gates: Mutex<Vec<Gate>>,
}

/// Where the next load of a file stops.
struct Gate {
    file: &'static str,
    reached: Sender<()>,
    open: Receiver<()>,
}

/// The test's side of a [`Gate`].
pub struct Blocked {
    reached: Receiver<()>,
    open: Sender<()>,
}

impl Blocked {
    /// Waits until the load has come to the gate.
    pub fn wait(&self) {
        self.reached.recv_timeout(TEST_LIMIT).expect("the file is not loaded");
    }

    /// Lets the load go on.
    pub fn release(&self) {
        self.open.send(()).expect("the load is gone");
    }
}

impl StubLoader {
    /// How often a file was loaded.
    pub fn loads(&self) -> usize {
        self.shared.loads.load(Ordering::SeqCst)
    }

    /// How often a load began while another one was running.
    pub fn overlaps(&self) -> usize {
        self.shared.overlaps.load(Ordering::SeqCst)
    }

    /// Makes the next load of a file of this name, or its next renewal as a helper, stop at its beginning; for
    /// `x.gone`, what tells the file `x.py` that it is gone.
    pub fn block(&self, file: &'static str) -> Blocked {
        let (reached, reached_receiver) = mpsc::channel();
        let (open_sender, open) = mpsc::channel();
        self.shared.gates.lock().push(Gate { file, reached, open });
        Blocked { reached: reached_receiver, open: open_sender }
    }

    fn pass_gate(&self, path: &Path) {
        // Unlocked while it waits: other loads go on.
        let gate = {
            let mut gates = self.shared.gates.lock();
            let Some(next) = gates.iter().position(|gate| path.ends_with(gate.file)) else { return };
            gates.remove(next)
        };
        gate.reached.send(()).expect("the test is gone");
        // An error: the test is over.
        let _ = gate.open.recv();
    }
}

impl Loader for StubLoader {
    type Suite = String;
    type Renewal = ();

    fn load(&self, path: &Path, source: &[u8]) -> Loaded<String> {
        if self.shared.running.fetch_add(1, Ordering::SeqCst) > 0 {
            self.shared.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        self.shared.loads.fetch_add(1, Ordering::SeqCst);
        self.pass_gate(path);
        let text = String::from_utf8_lossy(source).into_owned();
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
        let depends_on = text.split_once("needs ").map(|(_, helper)| path.with_file_name(helper));
        let suite = if text.starts_with("FAIL") {
            Err(LoadError { message: text, traceback: Some("Traceback: line 1\n".to_owned()) })
        } else {
            Ok(text)
        };
        Loaded { suite, depends_on: depends_on.into_iter().collect() }
    }

    fn renew(&self, changed: &[PathBuf]) {
        for path in changed {
            self.pass_gate(path);
        }
    }

    fn forget(&self, path: &Path) -> Box<dyn FnOnce() + Send> {
        let (loader, path) = (self.clone(), path.with_extension("gone"));
        Box::new(move || loader.pass_gate(&path))
    }
}

/// A directory `handlers` in a directory of the test's own.
pub struct Place {
    /// Keeps the directory.
    _outer: TempDir,
    /// Canonical path of `handlers`.
    pub root: PathBuf,
    /// Loads the files.
    pub loader: StubLoader,
    /// Names `root`, nothing special.
    pub config: HandlersConfig,
}

impl Place {
    /// With files of these names and texts in `handlers`.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let outer = TempDir::new().expect("no temporary directory");
        let root = outer.path().canonicalize().expect("canonical").join("handlers");
        fs::create_dir(&root).expect("create");
        let config = HandlersConfig {
            root: root.clone(),
            scan: root.clone(),
            allow_outside_root: false,
            map_file: None,
            encoding: None,
            reload: true,
            reload_delay: Duration::from_millis(5),
            reload_poll: None,
        };
        let place = Self { _outer: outer, root, loader: StubLoader::default(), config };
        for (name, text) in files {
            place.write(name, text);
        }
        place
    }

    /// Path of something in `handlers`, or beside it (`../x`).
    pub fn path(&self, name: &str) -> PathBuf {
        match name.strip_prefix("../") {
            Some(name) => self.root.with_file_name(name),
            None => self.root.join(name),
        }
    }

    /// Writes a file in place, its directory made if need be.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("no parent")).expect("create");
        fs::write(path, text).expect("write");
    }

    /// Opens a registry of the directory.
    pub fn open(&self) -> Arc<Registry<StubLoader>> {
        Arc::new(Registry::open(&self.config, self.loader.clone()).unwrap_or_else(|error| panic!("{error}")))
    }
}

/// What serves each resource.
pub fn served(snapshot: &Snapshot<String>) -> Vec<(&str, &str)> {
    snapshot.handlers().map(|(resource, handler)| (resource, handler.suite.as_str())).collect()
}

/// What serves `resource`.
pub fn text(snapshot: &Snapshot<String>, resource: &str) -> Option<String> {
    let handler = snapshot.resolve(resource).expect("no fragment here");
    handler.map(|handler| handler.suite.as_ref().clone())
}
