//! A script that runs: its output on the way to its client.

use std::io;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::input::{Input, READ_SIZE};
use super::process::Process;
use crate::http::Delivery;
use crate::http::cgi::{Header, HeaderError, Parsed, Script, parse};
use crate::logging::LOG_REQUEST;
use crate::patience::Patience;
use crate::server::access_log::log_request;
use crate::server::ending::Ending;

/// How long, and how much of its output, is held back after a script's header, so that a script that fails at
/// once is answered with 502. One that goes on is not held up any longer.
const HOLD_TIME: Duration = Duration::from_millis(100);
const HOLD_BYTES: usize = 64 * 1024;
/// How long output is waited for once the script has ended; a process that it left behind may have the pipe.
const REST_TIME: Duration = Duration::from_millis(100);

/// The client of a script.
pub struct Client<'a, S> {
    /// The connection.
    pub socket: &'a mut S,
    /// What was received after the request head.
    pub unread: &'a mut BytesMut,
    /// The length of the request's body, in bytes.
    pub body_length: u64,
    /// How long it may keep us waiting for that.
    pub patience: Patience,
    /// How much of a response it takes.
    pub delivery: Delivery,
    /// Its request line, for the log.
    pub request_line: String,
}

/// What became of a request for a script.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The response is out, or the client gone, or nothing was sent yet and this is to be told.
    End(Ending),
    /// The script wants this target to be answered in its place.
    Redirect(String),
}

/// Nothing more is to be sent.
const DONE: Outcome = Outcome::End(Ending::Silent);

/// Why output cannot be delivered.
enum Failure {
    /// The script's fault, before anything was sent.
    Script(Fault),
    /// The connection's.
    Client(io::Error),
}

/// What is wrong with a script.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Header(HeaderError),
    #[error("ended without a header (fields such as Content-Type, and an empty line)")]
    NoHeader,
    #[error("{}", exit_text(*.0))]
    Exit(ExitStatus),
    /// It cannot be read from, or not be waited for.
    #[error("{0}")]
    System(io::Error),
}

/// A script that runs.
pub struct Running {
    process: Process,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// What it wrote and the client has not got.
    output: BytesMut,
    _permit: OwnedSemaphorePermit,
}

impl Running {
    /// The script of `process`, which writes to `stdout`. It has its place, `permit`, until it is done.
    pub(super) fn new(
        process: Process,
        stdin: Option<ChildStdin>,
        stdout: ChildStdout,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { process, stdin, stdout, output: BytesMut::new(), _permit: permit }
    }

    /// Serves `client` until the script has ended, or the client, whose script is ended then.
    pub async fn serve<S>(mut self, client: Client<'_, S>, script: &Script) -> Outcome
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let sent = AtomicU64::new(0);
        let (reader, writer) = tokio::io::split(client.socket);
        let stdin = self.stdin.take();
        let input =
            Input { reader, unread: client.unread, left: client.body_length, patience: client.patience };
        let result = tokio::select! {
            ending = input.feed(stdin, &sent) => {
                tracing::info!(target: LOG_REQUEST, "CGI script {:?} was ended with its client", script.name);
                let nothing_sent = sent.load(Ordering::Relaxed) == 0;
                Ok(Outcome::End(if nothing_sent { ending } else { Ending::Silent }))
            }
            result = self.deliver(writer, client.delivery, &client.request_line, &sent) => result,
        };
        let status = self.process.end().await;
        match result {
            Ok(outcome) => {
                if let Some(status) = status.filter(|status| !status.success() && outcome == DONE) {
                    tracing::warn!(target: LOG_REQUEST, "CGI script {:?}: {}", script.name, exit_text(status));
                }
                outcome
            }
            Err(Failure::Client(error)) => {
                if error.kind() == io::ErrorKind::TimedOut {
                    tracing::warn!(
                        target: LOG_REQUEST,
                        "CGI script {:?} was ended: its client does not take the output", script.name
                    );
                }
                DONE
            }
            Err(Failure::Script(fault)) => {
                tracing::warn!(target: LOG_REQUEST, "CGI script {:?}: {fault}", script.name);
                Outcome::End(Ending::ScriptFailed)
            }
        }
    }

    async fn deliver<W: AsyncWrite + Unpin>(
        &mut self,
        mut client: W,
        delivery: Delivery,
        request_line: &str,
        sent: &AtomicU64,
    ) -> Result<Outcome, Failure> {
        let header = self.header().await?;
        self.hold().await?;
        if let Some(target) = header.local_redirect() {
            while self.more().await? {
                self.output.clear();
            }
            return Ok(Outcome::Redirect(target.to_owned()));
        }
        log_request(request_line, header.status());
        let mut is_on = true;
        if !delivery.body_only {
            sent.fetch_add(1, Ordering::Relaxed);
            client.write_all(&header.response_head()).await?;
        }
        while is_on {
            if !delivery.head_only {
                client.write_all(&self.output).await?;
            }
            // TLS keeps what is not flushed.
            client.flush().await?;
            sent.fetch_add(1, Ordering::Relaxed);
            self.output.clear();
            is_on = self.more().await?;
        }
        Ok(DONE)
    }

    /// Reads the script's header.
    async fn header(&mut self) -> Result<Header, Failure> {
        loop {
            match parse(&self.output) {
                Parsed::Whole(header, length) => {
                    self.output.advance(length);
                    return Ok(header);
                }
                Parsed::Wrong(error) => return Err(Failure::Script(Fault::Header(error))),
                Parsed::Partial if self.more().await? => {}
                Parsed::Partial => {
                    return Err(Failure::Script(self.bad_end().unwrap_or(Fault::NoHeader)));
                }
            }
        }
    }

    /// Waits a moment for the script's end, and for it to be a good one.
    async fn hold(&mut self) -> Result<(), Failure> {
        let to_the_end = async {
            while self.output.len() < HOLD_BYTES && self.more().await? {}
            Ok::<(), Failure>(())
        };
        // Out of time: it runs on, and so do we.
        timeout(HOLD_TIME, to_the_end).await.unwrap_or(Ok(()))?;
        self.bad_end().map_or(Ok(()), |fault| Err(Failure::Script(fault)))
    }

    /// What is wrong with how the script ended, if it did.
    fn bad_end(&self) -> Option<Fault> {
        self.process.status().filter(|status| !status.success()).map(Fault::Exit)
    }

    /// Reads more output. `false`: there will be none, and the script has ended. May be cancelled.
    async fn more(&mut self) -> Result<bool, Failure> {
        self.output.reserve(READ_SIZE);
        let no_process = |error: io::Error| Failure::Script(Fault::System(error));
        while self.process.status().is_none() {
            tokio::select! {
                count = self.stdout.read_buf(&mut self.output) => {
                    if count.map_err(no_process)? > 0 {
                        return Ok(true);
                    }
                    self.process.wait().await.map_err(no_process)?;
                }
                ended = self.process.wait() => ended.map_err(no_process)?,
            }
        }
        match timeout(REST_TIME, self.stdout.read_buf(&mut self.output)).await {
            Ok(count) => Ok(count.map_err(no_process)? > 0),
            Err(_) => Ok(false),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Client(error)
    }
}

/// How a script ended; pywebsocket's words, signals as negative numbers.
fn exit_text(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or(status.signal().map(|signal| -signal)).unwrap_or_default();
    format!("CGI script exit code {code}")
}
