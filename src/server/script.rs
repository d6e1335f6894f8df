//! Runs a CGI script: its body goes in, its output goes out while it comes, and it ends with its client, or with the
//! server, together with all that it has started.
//!
//! Must not import `bridge` or pyo3.

use std::fs;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use rustix::process::Signal;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::access_log::log_request;
use crate::children::{Group, Owner};
use crate::http::cgi::output::{Header, Parsed, parse};
use crate::http::cgi::{Cgi, Request, Script, variables};
use crate::http::response::Delivery;
use crate::logging::LOG_REQUEST;
use crate::patience::Patience;
use crate::shutdown;

/// How many scripts run at once; requests for more get 503.
const MAX_SCRIPTS: usize = 256;
/// How much there is room for in one read, in bytes.
const READ_SIZE: usize = 16 * 1024;
/// How long, and how much of its output, is held back behind a script's header, so that a script that fails at
/// once is answered with 502. One that goes on is not held up any longer.
const HOLD_TIME: Duration = Duration::from_millis(100);
const HOLD_BYTES: usize = 64 * 1024;
/// How long output is waited for once the script has ended; a process that it left behind may have the pipe.
const REST_TIME: Duration = Duration::from_millis(100);
/// How long a script may be silent after its client has closed its side: it may be gone, or only done with
/// sending.
const HALF_CLOSED_TIME: Duration = Duration::from_secs(2);
/// Longest line of a script's stderr that is logged as one, in bytes.
const MAX_ERROR_LINE: u64 = 8 * 1024;
/// How long a script may take to end by itself once it was asked to with SIGTERM; then it gets SIGKILL.
pub(super) const ASKED_TIME: Duration = Duration::from_millis(500);
/// How often a process group is looked at, whose end nobody tells.
const LOOK_TIME: Duration = Duration::from_millis(5);
/// How often a program that is open for writing is tried again, 10 ms apart: somebody may be saving it.
const BUSY_ATTEMPTS: usize = 10;

/// What scripts need of the server.
pub(super) struct Scripts {
    /// The scripts.
    pub(super) cgi: Cgi,
    /// Who runs them.
    user: Option<User>,
    /// Room for more of them.
    room: Arc<Semaphore>,
    /// Whose they are.
    owner: Owner,
}

impl Scripts {
    pub(super) fn new(cgi: Cgi) -> Self {
        // SAFETY: geteuid touches no memory.
        let is_root = unsafe { libc::geteuid() } == 0;
        let user = is_root.then(|| User::nobody(&fs::read_to_string("/etc/passwd").unwrap_or_default()));
        Self { cgi, user, room: Arc::new(Semaphore::new(MAX_SCRIPTS)), owner: Owner::new() }
    }

    /// Starts `script` for `request`. An error is the status to answer with; it is logged.
    pub(super) async fn start(
        &self,
        script: &Script,
        request: Request<'_>,
        has_body: bool,
    ) -> Result<Running, u16> {
        let failed = |status, reason: &dyn std::fmt::Display| {
            tracing::warn!(target: LOG_REQUEST, "CGI script {:?} was not run: {reason}", script.name);
            status
        };
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            return Err(failed(503, &format!("{MAX_SCRIPTS} scripts are running")));
        };
        let mut command = self.command(script, request, has_body);
        let mut attempts = BUSY_ATTEMPTS;
        let mut child = loop {
            match command.spawn() {
                Ok(child) => break child,
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts > 0 => {
                    attempts -= 1;
                    sleep(Duration::from_millis(10)).await;
                }
                // A NUL in what becomes a variable or an argument.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(failed(400, &error)),
                Err(error) => return Err(failed(502, &error)),
            }
        };
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let Some((stdout, stderr)) = stdout.zip(stderr) else {
            return Err(failed(502, &"it has no output"));
        };
        tokio::spawn(log_errors(stderr, one_line(&script.name.to_string_lossy())));
        let group = child.id().map(|number| Group::new(self.owner, number));
        let process = Process { group, child, status: None };
        Ok(Running { process, stdin, stdout, output: BytesMut::new(), _permit: permit })
    }

    /// Asks all scripts to end. Returns whether there are any.
    pub(super) fn ask_to_end(&self) -> bool {
        let has_any = self.owner.has_any();
        self.owner.send(Signal::TERM);
        has_any
    }

    /// Ends all scripts, and what is left of earlier ones.
    pub(super) fn kill(&self) {
        self.owner.send(Signal::KILL);
    }

    fn command(&self, script: &Script, request: Request<'_>, has_body: bool) -> Command {
        let mut command = Command::new(&script.path);
        command
            .arg0(script.program_name())
            .args(script.argument())
            .env_clear()
            .envs(variables(script, request))
            // pywebsocket: its working directory is the document root.
            .current_dir(&script.root)
            .stdin(if has_body { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // So that it can be ended together with what it starts.
            .process_group(0);
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        shutdown::restore_for_program(&mut command);
        command
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A user of the system, by numbers.
#[derive(Debug, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// `nobody`, whom pywebsocket runs scripts as when it runs as root; unlike there, the group changes, too.
    fn nobody(passwd: &str) -> Self {
        // Negative on some systems; the kernel takes the same 32 bits.
        let number = |text: &str| text.parse().or_else(|_| text.parse().map(i32::cast_unsigned)).ok();
        let entry = passwd.lines().find_map(|line| {
            let mut fields = line.strip_prefix("nobody:")?.split(':').skip(1);
            Some(Self { uid: number(fields.next()?)?, gid: number(fields.next()?)? })
        });
        entry.unwrap_or(Self { uid: 65534, gid: 65534 })
    }
}

/// The client of a script.
pub(super) struct Client<'a, S> {
    /// The connection.
    pub(super) socket: &'a mut S,
    /// What was received behind the request head.
    pub(super) unread: &'a mut BytesMut,
    /// The length of the request's body, in bytes.
    pub(super) body_length: u64,
    /// How long it may keep us waiting for that.
    pub(super) patience: Patience,
    /// How much of a response it takes.
    pub(super) delivery: Delivery,
    /// Its request line, for the log.
    pub(super) request_line: String,
}

/// What became of a request for a script.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing more is to be sent: the response is out, or the client gone.
    Done,
    /// The script wants this target to be answered in its place.
    Redirect(String),
    /// Nothing was sent yet; this status is to be answered.
    Refused(u16),
}

/// Why output cannot be delivered.
enum Failure {
    /// The script's fault, with the reason, before anything was sent.
    Script(String),
    /// The connection's.
    Client(io::Error),
}

/// A script that runs.
pub(super) struct Running {
    process: Process,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// What it wrote and the client has not got.
    output: BytesMut,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Running {
    /// Serves `client` until the script has ended, or the client, whose script is ended then.
    pub(super) async fn serve<S>(mut self, client: Client<'_, S>, script: &Script) -> Outcome
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let sent = AtomicU64::new(0);
        let (reader, writer) = tokio::io::split(client.socket);
        let stdin = self.stdin.take();
        let input =
            Input { reader, unread: client.unread, left: client.body_length, patience: client.patience };
        let result = tokio::select! {
            status = input.feed(stdin, &sent) => {
                tracing::info!(target: LOG_REQUEST, "CGI script {:?} was ended with its client", script.name);
                let nothing_sent = sent.load(Ordering::Relaxed) == 0;
                Ok(status.filter(|_| nothing_sent).map_or(Outcome::Done, Outcome::Refused))
            }
            result = self.deliver(writer, client.delivery, &client.request_line, &sent) => result,
        };
        let status = self.process.end().await;
        match result {
            Ok(outcome) => {
                if let Some(status) = status.filter(|status| !status.success() && outcome == Outcome::Done) {
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
                Outcome::Done
            }
            Err(Failure::Script(reason)) => {
                tracing::warn!(target: LOG_REQUEST, "CGI script {:?}: {reason}", script.name);
                Outcome::Refused(502)
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
        Ok(Outcome::Done)
    }

    /// Reads the script's header.
    async fn header(&mut self) -> Result<Header, Failure> {
        loop {
            match parse(&self.output) {
                Parsed::Whole(header, length) => {
                    self.output.advance(length);
                    return Ok(header);
                }
                Parsed::Wrong(reason) => return Err(Failure::Script(reason)),
                Parsed::Partial if self.more().await? => {}
                Parsed::Partial => {
                    let reason = "ended without a header (fields such as Content-Type, and an empty line)";
                    return Err(Failure::Script(self.failure().unwrap_or_else(|| reason.to_owned())));
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
        self.failure().map_or(Ok(()), |reason| Err(Failure::Script(reason)))
    }

    /// What is wrong with how the script ended, if it did.
    fn failure(&self) -> Option<String> {
        self.process.status.filter(|status| !status.success()).map(exit_text)
    }

    /// Reads more output. `false`: there will be none, and the script has ended. May be cancelled.
    async fn more(&mut self) -> Result<bool, Failure> {
        self.output.reserve(READ_SIZE);
        let no_process = |error: io::Error| Failure::Script(error.to_string());
        while self.process.status.is_none() {
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

/// What the client sends.
struct Input<'a, R> {
    reader: R,
    unread: &'a mut BytesMut,
    /// How much of the body is still to come.
    left: u64,
    patience: Patience,
}

impl<R: AsyncRead + Unpin> Input<'_, R> {
    /// Passes the body on to `stdin`, and then waits for the client's end; `sent` grows with each part of the
    /// response that it took. Returns when the client is gone, with a status if it should be told why.
    async fn feed(mut self, mut stdin: Option<ChildStdin>, sent: &AtomicU64) -> Option<u16> {
        loop {
            let count =
                usize::try_from(self.left).map_or(self.unread.len(), |left| left.min(self.unread.len()));
            let data = self.unread.split_to(count);
            self.left -= count as u64;
            if let Some(pipe) = &mut stdin
                && pipe.write_all(&data).await.is_err()
            {
                // It does not want to read on, which is no error.
                stdin = None;
            }
            if self.left == 0 {
                break;
            }
            self.unread.reserve(READ_SIZE);
            let since = Instant::now();
            match timeout(self.patience.left(), self.reader.read_buf(self.unread)).await {
                Ok(Ok(count)) if count > 0 => self.patience.settle(since.elapsed(), count),
                Ok(_) => return None,
                Err(_) => return Some(408),
            }
        }
        drop(stdin);
        // Not reading on forever: a client that still sends is there.
        self.unread.clear();
        while self.unread.len() < READ_SIZE {
            self.unread.reserve(READ_SIZE);
            match self.reader.read_buf(self.unread).await {
                Ok(0) => return half_closed(sent).await,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        std::future::pending().await
    }
}

/// Returns when nothing was sent for a while.
async fn half_closed(sent: &AtomicU64) -> Option<u16> {
    loop {
        let before = sent.load(Ordering::Relaxed);
        sleep(HALF_CLOSED_TIME).await;
        if sent.load(Ordering::Relaxed) == before {
            return None;
        }
    }
}

/// A process that is ended, with its whole group, when this is dropped, and never left as a zombie.
struct Process {
    child: Child,
    /// Its process group.
    group: Option<Group>,
    /// How it ended, once it did.
    status: Option<ExitStatus>,
}

impl Process {
    /// Waits for the end. May be cancelled.
    async fn wait(&mut self) -> io::Result<()> {
        self.status = Some(self.child.wait().await?);
        if let Some(group) = &mut self.group {
            group.has_no_leader();
        }
        Ok(())
    }

    /// Ends the process if it still runs, and all of its group then. Returns how it ended by itself.
    async fn end(mut self) -> Option<ExitStatus> {
        if self.status.is_some() {
            return self.status;
        }
        self.send(Signal::TERM);
        let ended = async {
            // An error: it is not there any more.
            let _ = self.wait().await;
            while self.group.as_ref().is_some_and(Group::is_there) {
                sleep(LOOK_TIME).await;
            }
        };
        if timeout(ASKED_TIME, ended).await.is_err() {
            self.send(Signal::KILL);
            if self.status.is_none() {
                let _ = self.wait().await;
            }
        }
        None
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = &self.group {
            group.send(signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        self.send(Signal::KILL);
        // Only the end of the server comes here with a process that runs. It was killed, so it takes no time,
        // and later nobody may be there to wait for it.
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How a script ended; pywebsocket's words, signals as negative numbers.
fn exit_text(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or(status.signal().map(|signal| -signal)).unwrap_or_default();
    format!("CGI script exit code {code}")
}

/// Writes what the script `name` says on stderr to the log, line by line.
async fn log_errors(stderr: ChildStderr, name: String) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    // An error is an end, too.
    while let Ok(1..) = (&mut stderr).take(MAX_ERROR_LINE).read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line);
        tracing::warn!(target: LOG_REQUEST, "CGI script {name}: {}", one_line(text.trim_end()));
        line.clear();
    }
}

/// `text` without control characters: a script often repeats what its client sent.
fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody() {
        for (passwd, uid, gid) in [
            ("root:x:0:0::/:\nnobody:x:65534:65533:n:/:\n", 65534, 65533),
            ("nobody:*:-2:-2::/:\n", u32::MAX - 1, u32::MAX - 1),
            ("nobody:x:a:b\n", 65534, 65534),
            ("", 65534, 65534),
        ] {
            assert_eq!(User::nobody(passwd), User { uid, gid }, "{passwd}");
        }
    }

    #[test]
    fn a_script_cannot_forge_a_log_line() {
        assert_eq!(
            one_line("a\tb\r\n[x] \u{1b}[0m \"\u{e9}\" \u{85}"),
            "a\\tb\\r\\n[x] \\u{1b}[0m \"\u{e9}\" \\u{85}"
        );
    }
}
