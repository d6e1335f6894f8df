//! The async side: listeners, and each connection up to where its handler takes over.
//!
//! [`serve`] is the server of a process: its own runtime, signals, the ready line. [`run`] is the same server
//! inside somebody else's process. Must not import `bridge` or pyo3; handlers are reached through
//! [`HandlerHost`].

mod access_log;
mod answer;
mod connection;
mod listening;
mod ready;
mod script;
mod stream;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::descriptors;
use crate::error::StartError;
use crate::handlers::HandlerHost;
use crate::http::cgi::{Cgi, FixedRules, ScriptRules};
use crate::http::files::Files;
use crate::http::policy::PolicySource;
use crate::logging::{self, LOG_SERVER};
use crate::shutdown;
use crate::status::Status;
use crate::trace::Trace;
use connection::Context;
use listening::Listener;
use script::Scripts;
use tls::Tls;

pub use listening::{Listeners, check_passed};
pub use ready::Descriptor as ReadyDescriptor;

/// How long `accept` rests after an error such as too many open files, which would come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long connections may take to end that were told to at once. They take no time; the machine may.
const END_OF_CONNECTIONS: Duration = Duration::from_secs(1);

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
    ready: Option<ReadyDescriptor>,
) -> Result<(), StartError> {
    let tls = load_tls(&config)?;
    let trace = open_trace(&config)?;
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
        run_with(listeners, config, host, asked, stop, Opened { tls, trace }).await?;
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

/// What is asked about each request.
pub struct Asked {
    /// What is demanded of it.
    pub policy: Arc<dyn PolicySource>,
    /// Whether it is for a script.
    pub scripts: Arc<dyn ScriptRules>,
}

impl Asked {
    /// What `config` says, the same for all requests.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let scripts = FixedRules::new(config.cgi_directories.clone());
        Self { policy: Arc::new(config.policy.clone()), scripts: Arc::new(scripts) }
    }
}

/// Serves, asking `asked` about each request, until `stop` is cancelled; then takes no new connections, closes
/// the idle ones and gives responses that are being written [`Config::grace`]. Must run in a tokio runtime with
/// I/O and time. Connections that handlers have taken over are not waited for.
pub async fn run(
    listeners: Listeners,
    config: Arc<Config>,
    host: Arc<dyn HandlerHost>,
    asked: Asked,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let files = Arc::clone(&config);
    let open = move || Ok(Opened { tls: load_tls(&files)?, trace: open_trace(&files)? });
    // A file that cannot be read, such as one on a dead mount, must not hold up the stop.
    let opened = match stop.run_until_cancelled(tokio::task::spawn_blocking(open)).await {
        Some(Ok(opened)) => opened?,
        // A panic, which the panic hook has reported, or the end of the runtime.
        Some(Err(error)) => return Err(StartError::Runtime(error.into())),
        None => return Ok(()),
    };
    run_with(listeners, config, host, asked, stop, opened).await
}

/// Whether the certificates that `config` names can be used, for those who want to know before [`run`].
pub fn check_certificates(config: &Config) -> Result<(), StartError> {
    load_tls(config).map(drop)
}

fn load_tls(config: &Config) -> Result<Option<Arc<Tls>>, StartError> {
    config.tls.as_ref().map(|tls| Tls::load(tls).map(Arc::new)).transpose()
}

fn open_trace(config: &Config) -> Result<Option<Arc<Trace>>, StartError> {
    config.trace.as_deref().map(|path| Trace::open(path).map(Arc::new)).transpose()
}

/// What was opened for a server before it serves.
struct Opened {
    tls: Option<Arc<Tls>>,
    trace: Option<Arc<Trace>>,
}

async fn run_with(
    listeners: Listeners,
    config: Arc<Config>,
    host: Arc<dyn HandlerHost>,
    asked: Asked,
    stop: CancellationToken,
    opened: Opened,
) -> Result<(), StartError> {
    let Opened { tls, trace } = opened;
    let grace = config.grace;
    let files = Files {
        root: config.document_root.clone(),
        allow_outside_root: config.handlers.allow_outside_root,
        hide_handlers: config.hide_handlers,
    };
    let context = Arc::new(Context {
        scripts: Scripts::new(Cgi { rules: asked.scripts, files: files.clone() }),
        files,
        local: (
            config.listen.host.clone().unwrap_or_default(),
            match listeners.port() {
                // A Unix socket has none.
                0 => config.listen.port,
                port => port,
            },
        ),
        tls: tls.clone(),
        head_timeout: config.head_timeout,
        write_timeout: config.write_timeout,
        trace,
        host,
        policy: asked.policy,
        stop: stop.clone(),
    });
    // Cancelled when the grace is over, and when this future is dropped.
    let end = CancellationToken::new();
    let _end_guard = end.clone().drop_guard();
    let connections = TaskTracker::new();
    let accepting = TaskTracker::new();
    if let Some(tls) = tls {
        let (stop, end) = (stop.clone(), end.clone());
        accepting.spawn(async move { end.run_until_cancelled(tls.watch(stop)).await });
    }
    let (listeners, _unix_path) = listeners.into_tokio()?;
    for listener in listeners {
        let (context, end) = (Arc::clone(&context), end.clone());
        accepting.spawn(accept(listener, context, connections.clone(), end));
    }
    accepting.close();
    accepting.wait().await;
    if !shutdown::wait_for(connections.clone(), grace).await {
        tracing::warn!(target: LOG_SERVER, "Closing connections that are not done after {grace:?}");
        if context.scripts.ask_to_end() {
            shutdown::wait_for(connections.clone(), script::ASKED_TIME).await;
        }
    }
    context.scripts.kill();
    end.cancel();
    // Scripts are waited for where their connections end.
    shutdown::wait_for(connections, END_OF_CONNECTIONS).await;
    Ok(())
}

/// Accepts connections, each served by a task of its own, until the stop.
async fn accept(listener: Listener, context: Arc<Context>, connections: TaskTracker, end: CancellationToken) {
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            () = context.stop.cancelled() => return,
            () = end.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                // A handler may have closed them since the last time.
                descriptors::keep_standard();
                if std::mem::take(&mut is_failing) {
                    tracing::info!(target: LOG_SERVER, "Accepting connections again");
                }
                // In a box: it is large, and what is wrapped around it moves it about.
                let connection = Box::pin(connection::serve(Arc::clone(&context), socket, peer));
                let end = end.clone();
                connections.spawn(async move { end.run_until_cancelled(connection).await });
            }
            Err(error) => {
                // Once, not at each try: the log must not fill up while there is nothing to be done.
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(
                        target: LOG_SERVER,
                        "Cannot accept a connection: {error}; trying again until it works"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
