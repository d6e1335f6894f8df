//! The way of a connection: TLS, then request after request for files, until it ends or a handler takes it over.
//!
//! Must not import `bridge` or pyo3.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::timeout;

use super::context::Context;
use super::ending::Ending;
use super::http_connection::{HttpConnection, Next};
use super::linger::linger;
use super::stream::{Socket, Stream};
use super::tls::AcceptError;
use crate::config::PolicyConfig;
use crate::handover::{HandlerConnection, ReadyHandler};
use crate::http::{PolicyError, RequestHead, python_repr};
use crate::logging::LOG_REQUEST;
use crate::patience::Patient;
use crate::trace::Opening;

/// Serves `socket` until it is closed or a handler has it.
pub(super) async fn serve(context: Arc<Context>, socket: Socket, peer: SocketAddr) {
    if let Err(error) = serve_fallibly(context, socket, peer).await {
        tracing::debug!(target: LOG_REQUEST, "Connection of {peer} ended: {error}");
    }
}

async fn serve_fallibly(context: Arc<Context>, socket: Socket, peer: SocketAddr) -> io::Result<()> {
    let connect = |socket| HttpConnection::new(Arc::clone(&context), socket, peer);
    let socket = Patient::new(socket, context.write_timeout);
    let Some(tls) = &context.tls else {
        return connect(Stream::Plain(socket)).run().await;
    };
    let handshake = timeout(context.head_timeout, tls.accept(socket));
    match context.stop.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => connect(stream).run().await,
        Some(Ok(Err(AcceptError::Http(socket)))) => {
            connect(Stream::Plain(socket)).end(Ending::NoTls, None).await
        }
        Some(Ok(Err(AcceptError::Io(error, socket)))) => {
            tracing::info!(target: LOG_REQUEST, "{}: no TLS handshake: {error}", peer.ip());
            if let Some(socket) = socket {
                linger(socket, context.stop.clone()).await;
            }
            Ok(())
        }
        Some(Err(_)) => {
            tracing::info!(target: LOG_REQUEST, "{}: no TLS handshake within {:?}", peer.ip(), context.head_timeout);
            Ok(())
        }
        None => Ok(()),
    }
}

impl HttpConnection {
    async fn run(mut self) -> io::Result<()> {
        let stop = self.context.stop.clone();
        loop {
            let mut head = match self.next().await? {
                Next::Request(head) => head,
                // A stop, and nothing is under way.
                Next::End(Ending::Silent) if self.is_idle() && stop.is_cancelled() => return Ok(()),
                Next::End(ending) => return self.end(ending, None).await,
            };
            let policy = match self.policy().await {
                Ok(policy) => policy,
                Err(error) => {
                    self.log_failure(&error);
                    return self.end(Ending::Silent, Some(&head)).await;
                }
            };
            if !policy.authorizes(head.header("Authorization")) {
                return self.end(Ending::Unauthorized, Some(&head)).await;
            }
            let reason = match policy.resource(&head.target) {
                Err(error) => error.to_string(),
                Ok(resource) => {
                    let resolved = self.context.host.resolve(&resource);
                    head.target = resource;
                    match resolved {
                        Ok(Some(ready)) => return self.hand_over(ready, head),
                        Ok(None) => format!("No handler for resource: {}", python_repr(&head.target)),
                        Err(error) => {
                            tracing::info!(target: LOG_REQUEST, "Dispatch failed for error: {error}");
                            return self.end(Ending::Fragment, Some(&head)).await;
                        }
                    }
                }
            };
            tracing::info!(target: LOG_REQUEST, "{reason}");
            // pywebsocket's words for files and CGI scripts.
            tracing::info!(target: LOG_REQUEST, "Fallback to CGIHTTPRequestHandler");
            match self.answer(head).await {
                Ok(true) => {}
                Ok(false) => return self.linger().await,
                Err(error) => {
                    self.linger().await?;
                    return Err(error);
                }
            }
        }
    }

    /// What is demanded of the request that just came.
    async fn policy(&self) -> Result<PolicyConfig, PolicyError> {
        if !self.context.policy.may_wait() {
            return self.context.policy.policy();
        }
        let source = Arc::clone(&self.context.policy);
        let asked = tokio::task::spawn_blocking(move || source.policy()).await;
        asked.unwrap_or_else(|error| Err(PolicyError(error.to_string())))
    }

    /// Gives the connection to a handler.
    fn hand_over(self, ready: Box<dyn ReadyHandler>, head: RequestHead) -> io::Result<()> {
        let is_https = self.socket.is_tls();
        let transport = self.socket.into_transport()?;
        let resource = head.target.clone();
        let local = &self.context.local;
        let trace = self.context.trace.as_ref().map(|trace| {
            let opening = Opening { peer: self.peer, local, tls: is_https, resource: &resource };
            let trace = trace.begin_connection(&opening);
            trace.record_received(&head.raw);
            trace.record_received(&self.input);
            trace
        });
        let started = ready.start(HandlerConnection {
            transport,
            unread: self.input.freeze(),
            head,
            peer: self.peer,
            local: local.clone(),
            is_https,
            trace,
        });
        if let Err(error) = started {
            tracing::error!(target: LOG_REQUEST, "Cannot start a handler thread for {resource:?}: {error}");
        }
        Ok(())
    }
}
