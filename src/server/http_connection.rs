//! A connection that speaks HTTP: where the bytes of its requests come from, and its end.
//!
//! Must not import `bridge` or pyo3.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::context::Context;
use super::ending::Ending;
use super::linger::linger;
use super::stream::Stream;
use crate::http::{HeadError, HeadParser, RequestHead};
use crate::logging::LOG_SERVER;

/// How much room there is for one read, in bytes: more than most request heads.
const READ_SIZE: usize = 4096;

/// A connection that no handler has taken over.
pub(super) struct HttpConnection {
    pub(super) context: Arc<Context>,
    pub(super) socket: Stream,
    pub(super) peer: SocketAddr,
    /// What was received and not used yet.
    pub(super) input: BytesMut,
    /// How many bytes of the last request's body come before the next head.
    pub(super) skip: usize,
}

/// What comes next on a connection.
pub(super) enum Next {
    Request(RequestHead),
    End(Ending),
}

impl HttpConnection {
    /// A connection that nothing was received on.
    pub(super) fn new(context: Arc<Context>, socket: Stream, peer: SocketAddr) -> Self {
        Self { context, socket, peer, input: BytesMut::new(), skip: 0 }
    }

    /// Whether all that the client has sent is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.skip == 0 && self.input.is_empty()
    }

    /// Logs, in pywebsocket's words, that this request cannot be answered.
    pub(super) fn log_failure(&self, error: &dyn std::error::Error) {
        tracing::error!(target: LOG_SERVER, "Exception in processing request from {}: {error}", self.peer);
    }

    /// Waits for a request, for the time limit, or for the server's stop.
    pub(super) async fn next(&mut self) -> io::Result<Next> {
        let stop = self.context.stop.clone();
        let limit = self.context.head_timeout;
        match stop.run_until_cancelled(timeout(limit, self.read_head())).await {
            None => Ok(Next::End(Ending::Silent)),
            Some(Err(_)) if self.input.is_empty() => Ok(Next::End(Ending::Silent)),
            Some(Err(_)) => Ok(Next::End(Ending::SlowHead(limit))),
            Some(Ok(next)) => next,
        }
    }

    async fn read_head(&mut self) -> io::Result<Next> {
        while self.skip > self.input.len() {
            self.skip -= self.input.len();
            self.input.clear();
            if self.receive().await? == 0 {
                return Ok(Next::End(Ending::Silent));
            }
        }
        self.input.advance(std::mem::take(&mut self.skip));
        let mut parser = HeadParser::default();
        let mut at_eof = false;
        loop {
            match parser.parse(&mut self.input, at_eof) {
                Ok(Some(head)) => return Ok(Next::Request(head)),
                // At EOF, with nothing to search, there is no head to wait for.
                Ok(None) => at_eof = self.receive().await? == 0,
                Err(HeadError::Empty) => return Ok(Next::End(Ending::Silent)),
                Err(HeadError::Rejected(rejection)) => return Ok(Next::End(Ending::Head(rejection))),
            }
        }
    }

    /// Reads once. 0: the client closed its side.
    async fn receive(&mut self) -> io::Result<usize> {
        self.input.reserve(READ_SIZE);
        self.socket.read_buf(&mut self.input).await
    }

    /// Tells the client why nothing more comes after its request `head`, if it sent one.
    pub(super) async fn tell(&mut self, ending: &Ending, head: Option<&RequestHead>) -> io::Result<()> {
        ending.log(self.peer, head);
        self.socket.write_all(&ending.response(head)).await
    }

    /// Tells the client why, and closes the connection.
    pub(super) async fn end(mut self, ending: Ending, head: Option<&RequestHead>) -> io::Result<()> {
        self.tell(&ending, head).await?;
        self.linger().await
    }

    /// Closes our side, and reads on for a while so that the client can read the last response.
    pub(super) async fn linger(self) -> io::Result<()> {
        drop(self.input);
        linger(self.socket, self.context.stop.clone()).await;
        Ok(())
    }
}
