//! Watches the handler files and reloads what is saved.
//!
//! One thread, `wsh-reload`, gathers the events of the file system until they pause and then lets
//! [`Registry`] find out what changed: an event only says that it is worth looking. Hence an event too many costs a
//! look, and what must not happen is one too few: in doubt everything is watched anew, and then looked at.
//! Must not import pyo3 or tokio.
//!
//! - `reloader` – what runs on the thread; `silent` – places that are looked at from time to time

mod reloader;
mod silent;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::loader::Loader;
use super::registry::Registry;
use crate::config::HandlersConfig;
use crate::error::StartError;
use reloader::{Message, Reloader};

/// How long a stop waits for a load that is under way.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Keeps a registry up to date. Dropping it ends that; a load that is under way then is waited for, up to a
/// second, so that the thread that drops it must not hold the GIL.
pub struct Watcher {
    messages: Sender<Message>,
    /// Disconnected when the thread is done.
    done: Receiver<Infallible>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // An error: the thread is gone, or about to end.
        let _ = self.messages.send(Message::Stop);
        if matches!(self.done.recv_timeout(STOP_GRACE), Err(RecvTimeoutError::Timeout)) {
            tracing::warn!(target: "wshost.reload", "A handler file is still being loaded; not waiting for it");
        } else if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Keeps the files of `registry` up to date from now on, and loads what was saved since they were read. Where
/// the system gives no events, or not enough of them, it looks at the files from time to time, and says so. An
/// error: no thread could be had.
pub fn watch<L: Loader>(registry: Arc<Registry<L>>, config: &HandlersConfig) -> Result<Watcher, StartError> {
    let scan = registry.scan_dir();
    let failed = |error: io::Error| StartError::Watch { path: scan.clone(), reason: error.to_string() };
    let (messages, inbox) = mpsc::channel();
    let late = messages.clone();
    registry.on_late(Some(Box::new(move || {
        // An error: the thread is gone, or about to end.
        let _ = late.send(Message::Loaded);
    })));
    let (alive, done) = mpsc::channel();
    let reloader = Reloader::new(registry, config, (messages.clone(), inbox));
    let thread = thread::Builder::new()
        .name("wsh-reload".to_owned())
        .spawn(move || {
            // Held for as long as the thread lives.
            let _alive: Sender<Infallible> = alive;
            reloader.run();
        })
        .map_err(failed)?;
    Ok(Watcher { messages, done, thread: Some(thread) })
}

#[cfg(test)]
mod tests;
