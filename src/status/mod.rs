//! The status page: what the server does, for people (a page), programs (`/api`) and Prometheus (`/metrics`).
//!
//! - [`guard`] – who may look
//! - [`live`] – a sample of the traffic each second, and the page's WebSocket
//! - [`port`] – the connections, with their limits
//! - [`report`] – what is told, as JSON
//! - [`prometheus`] – the same counters as Prometheus wants them
//!
//! It has a listener of its own and only reads. What it tells comes through [`Monitor`]; it must not import
//! `bridge`, `server` or pyo3.

mod guard;
mod live;
mod port;
mod prometheus;
mod report;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::StartError;
use crate::handlers::Monitor;
use crate::logging::LOG_SERVER;
use guard::Guard;
use live::Samples;
use port::{Place, Times};

/// Bytes of chance in a token.
const TOKEN_SIZE: usize = 24;

/// Gives this process, a forked child, its own of what each process has one of.
pub(crate) fn renew_after_fork() {
    report::STARTED.renew();
}

/// A status page whose address is listened on.
pub struct Status {
    listener: TcpListener,
    address: SocketAddr,
    host: String,
    token: Option<String>,
    times: Times,
    monitor: Arc<dyn Monitor>,
}

/// What all requests share.
struct Shared {
    monitor: Arc<dyn Monitor>,
    samples: Samples,
    guard: Guard,
    stop: CancellationToken,
}

impl Status {
    /// Listens on what `config` names; `None`: nothing.
    pub fn bind(config: &Config, monitor: Arc<dyn Monitor>) -> Result<Option<Self>, StartError> {
        let times = Times { head: config.head_timeout, write: config.write_timeout };
        let Some(config) = &config.status else { return Ok(None) };
        let fail = |source| StartError::Listen {
            address: format!("{}:{} (--status)", config.host, config.port),
            source,
            hint: "choose another address; port 0 takes a free one",
        };
        let bind = || {
            let listener = TcpListener::bind((config.host.as_str(), config.port))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bind().map_err(fail)?;
        let token = match &config.token {
            None if !address.ip().is_loopback() => Some(made_token()?),
            given => given.clone(),
        };
        report::start();
        Ok(Some(Self { listener, address, host: config.host.clone(), token, times, monitor }))
    }

    /// What to open in a browser: with the token, if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        let ip = self.address.ip();
        let host = if ip.is_unspecified() {
            "localhost".to_owned()
        } else if ip.is_ipv6() && self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let token = self.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
        format!("http://{host}:{}/{token}", self.address.port())
    }

    /// Serves the page until `stop` is cancelled. Must run in a tokio runtime.
    pub async fn run(self, stop: CancellationToken) {
        let samples = Samples::default();
        let shared = Arc::new(Shared {
            monitor: self.monitor,
            samples,
            guard: Guard::new(self.address, &self.host, self.token),
            stop: stop.clone(),
        });
        let sampling = tokio::spawn(live::sample(Arc::clone(&shared)));
        if let Err(error) = port::serve(self.listener, router(shared), self.times, stop).await {
            tracing::error!(target: LOG_SERVER, "The status page has ended: {error}");
        }
        sampling.abort();
    }
}

fn made_token() -> Result<String, StartError> {
    let mut bytes = [0; TOKEN_SIZE];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| StartError::Runtime(std::io::Error::other("no random numbers")))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn router(shared: Arc<Shared>) -> Router {
    let file =
        |kind: &'static str, text: &'static str| get(move || async move { ([(CONTENT_TYPE, kind)], text) });
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/status.css", file("text/css; charset=utf-8", include_str!("page/status.css")))
        .route("/status.js", file("text/javascript; charset=utf-8", include_str!("page/status.js")))
        .route("/api", get(api))
        .route("/metrics", get(metrics))
        .route("/live", get(live))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::check))
        .with_state(shared)
}

async fn api(State(shared): State<Arc<Shared>>) -> Response {
    let report = report::report(&*shared.monitor, &shared.samples, &report::Extent::EVERYTHING);
    ([(CONTENT_TYPE, "application/json")], report.to_string()).into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = prometheus::metrics(&*shared.monitor);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn live(
    State(shared): State<Arc<Shared>>,
    Extension(place): Extension<Place>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade = upgrade.max_message_size(live::MAX_MESSAGE_SIZE).max_frame_size(live::MAX_MESSAGE_SIZE);
    upgrade.on_upgrade(async move |socket| {
        live::tell(socket, shared).await;
        // The connection ends here, not with its last request.
        drop(place);
    })
}
