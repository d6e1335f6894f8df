//! A server in a tokio runtime, from its listeners to the end of its last connection.
//!
//! Must not import `bridge` or pyo3.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::accept;
use super::context::Context;
use super::listening::Listeners;
use super::opened::Opened;
use super::script::{self, Scripts};
use crate::config::Config;
use crate::error::StartError;
use crate::handover::HandlerHost;
use crate::http::cgi::{Cgi, FixedRules, ScriptRules};
use crate::http::{Files, PolicySource};
use crate::logging::LOG_SERVER;
use crate::shutdown;

/// How long connections may take to end that were told to at once. They take no time; the machine may.
const END_OF_CONNECTIONS: Duration = Duration::from_secs(1);

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
    let named = Arc::clone(&config);
    let open = move || Opened::open(&named);
    // A file that cannot be read, such as one on a dead mount, must not hold up the stop.
    let opened = match stop.run_until_cancelled(tokio::task::spawn_blocking(open)).await {
        Some(Ok(opened)) => opened?,
        // A panic, which the panic hook has reported, or the end of the runtime.
        Some(Err(error)) => return Err(StartError::Runtime(error.into())),
        None => return Ok(()),
    };
    run_opened(listeners, config, host, asked, stop, opened).await
}

/// The same with what is `opened` already.
pub(super) async fn run_opened(
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
