//! The server of a process: its own runtime, signals and the ready line around [`run`](crate::server::run).
//!
//! Must not import `bridge` or pyo3.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::listening::Listeners;
use super::opened::Opened;
use super::ready::{self, Descriptor};
use super::run::{Asked, run_opened};
use crate::config::Config;
use crate::error::StartError;
use crate::handover::HandlerHost;
use crate::logging::{self, LOG_SERVER};
use crate::shutdown;
use crate::status::Status;

/// How long, beyond the grace, handlers may take to end. Only one that holds Python's lock takes longer. Less than
/// [`shutdown::LAST_TIME`], so that it is told what is the matter.
const END_TIME: Duration = Duration::from_millis(2500);

/// Serves until SIGINT or SIGTERM, and tells when it is ready ([`Config::ready`], `ready` and one line on stderr).
/// SIGHUP reads the certificates again and calls `on_hangup`, on a thread that may block.
/// Blocks, so the calling thread must be detached from Python. A stop ends the connections of handlers, too
/// ([`HandlerHost::close_connections`]). The status page is served beside it.
pub fn serve(
    config: Arc<Config>,
    listeners: Listeners,
    host: Arc<dyn HandlerHost>,
    on_hangup: impl Fn() + Send + Sync + 'static,
    status: Option<Status>,
    ready: Option<Descriptor>,
) -> Result<(), StartError> {
    let opened = Opened::open(&config)?;
    let tls = opened.tls.clone();
    let runtime = runtime()?;
    let (done, ended) = oneshot::channel();
    let (ending, grace) = (Arc::clone(&host), config.grace);
    let end = move || {
        ending.close_connections(grace);
        // Nobody listens any more when the time is over.
        let _ = done.send(());
    };
    let reloaded = tls.clone();
    let reload = move || {
        if let Some(tls) = &reloaded {
            tls.reload();
        }
        on_hangup();
    };
    // First the signals: who reads the ready line may send one at once.
    let signals = shutdown::Signals::take(grace, end, reload).map_err(StartError::Runtime)?;
    let stop = signals.stop();
    let result = runtime.block_on(async {
        ready::announce(&config, &listeners, tls.as_deref(), status.as_ref().map(Status::url), ready)?;
        if let Some(status) = status {
            tokio::spawn(status.run(stop.clone()));
        }
        let asked = Asked::of(&config);
        let ending = tokio::spawn(is_done(ended, grace.saturating_add(END_TIME), stop.clone()));
        run_opened(listeners, config, host, asked, stop, opened).await?;
        // It reports a panic itself.
        Ok(ending.await.unwrap_or(false))
    });
    // A file system call that hangs must not hold up the end.
    runtime.shutdown_background();
    if !result? {
        // Nothing of Python would ever return, not even to the caller.
        tracing::warn!(target: LOG_SERVER, "A handler does not let go of Python; ending without it");
        logging::flush(logging::FLUSH_TIME);
        shutdown::exit_at_once(0);
    }
    Ok(())
}

/// Whether `ended` comes within `time` of the stop.
async fn is_done(ended: oneshot::Receiver<()>, time: Duration, stop: CancellationToken) -> bool {
    stop.cancelled().await;
    tokio::time::timeout(time, ended).await.is_ok()
}

/// The threads that wait for sockets, files and timers.
pub fn runtime() -> Result<Runtime, StartError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.thread_name("wshost-io").enable_all().build().map_err(StartError::Runtime)
}
