//! The end of the server: signals ask for it, a grace period limits it. And the signal that asks for a fresh look
//! at files.
//!
//! Must not import pyo3.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::children;
use crate::logging::LOG_SERVER;

/// A token that SIGINT and SIGTERM cancel. A second signal ends the process at once, with the exit code that
/// shells give to it: 130 or 143.
///
/// A signal that is ignored already stays so, which is how a parent keeps Ctrl-C from its children.
/// Must be called within a tokio runtime.
pub fn token_of_signals() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        if is_ignored(kind.as_raw_value()) {
            continue;
        }
        tokio::spawn(watch(signal(kind)?, kind.as_raw_value(), stop.clone()));
    }
    Ok(stop)
}

/// Calls `reload` on each SIGHUP, on a thread that may block; one call at a time. Must be called within a tokio
/// runtime. A SIGHUP that is ignored already stays so (`nohup`).
pub fn on_hangup(reload: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
    let kind = SignalKind::hangup();
    if is_ignored(kind.as_raw_value()) {
        return Ok(());
    }
    let mut signals = signal(kind)?;
    let reload = Arc::new(reload);
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            tracing::info!(target: LOG_SERVER, "Reading handlers and certificates again on SIGHUP");
            let reload = Arc::clone(&reload);
            // The only error is a panic, which the panic hook has reported.
            let _ = tokio::task::spawn_blocking(move || reload()).await;
        }
    });
    Ok(())
}

/// Waits until the tracked connections are done, but no longer than `grace`. Returns whether they all were.
pub async fn wait_for(connections: TaskTracker, grace: Duration) -> bool {
    connections.close();
    tokio::time::timeout(grace, connections.wait()).await.is_ok()
}

async fn watch(mut signals: Signal, number: i32, stop: CancellationToken) {
    while signals.recv().await.is_some() {
        if stop.is_cancelled() {
            exit_at_once(128 + number);
        }
        tracing::info!(target: LOG_SERVER, "Stopping on signal {number}; once more ends the process at once");
        stop.cancel();
    }
}

/// Ends the process, and CGI scripts, without waiting for anything: `exit` would run what waits for handler threads.
pub fn exit_at_once(code: i32) -> ! {
    children::kill_all();
    // SAFETY: `_exit` touches no memory of the process.
    unsafe { libc::_exit(code) }
}

/// Whether the process ignores the signal `number`.
fn is_ignored(number: i32) -> bool {
    // SAFETY: with a null second argument `sigaction` only writes the current action to `action`, for which
    // all zeros is a valid value.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(number, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
