//! The page as a whole: where it is listened on, and the token that it may need.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::guard::Guard;
use super::port::{self, Times};
use super::routes::router;
use super::samples::{Samples, sample};
use super::shared::Shared;
use crate::config::Config;
use crate::error::StartError;
use crate::handlers::Monitor;
use crate::logging::LOG_SERVER;

/// Bytes of chance in a token.
const TOKEN_SIZE: usize = 24;

/// A status page whose address is listened on.
pub struct Status {
    listener: TcpListener,
    address: SocketAddr,
    host: String,
    token: Option<String>,
    times: Times,
    monitor: Arc<dyn Monitor>,
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
        clock::start();
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
        let guard = Guard::new(self.address, &self.host, self.token);
        let shared = Arc::new(Shared { monitor: self.monitor, samples: Samples::default() });
        let sampled = Arc::clone(&shared);
        let sampling = tokio::spawn(async move { sample(&*sampled.monitor, &sampled.samples).await });
        if let Err(error) = port::serve(self.listener, router(guard, shared), self.times, stop).await {
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
