//! The scripts of a server.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::process::Process;
use super::running::Running;
use super::stderr::log_errors;
use super::user::User;
use crate::children::Owner;
use crate::http::cgi::{Cgi, Request, Script, variables};
use crate::logging::LOG_REQUEST;
use crate::server::ending::Ending;
use crate::shutdown;

/// How many scripts run at once; requests for more get 503.
const MAX_SCRIPTS: usize = 256;
/// How often a program that is open for writing is tried again, 10 ms apart: somebody may be saving it.
const BUSY_ATTEMPTS: usize = 10;

/// What scripts need of the server.
pub struct Scripts {
    /// The scripts.
    pub cgi: Cgi,
    /// Who runs them.
    user: Option<User>,
    /// Room for more of them.
    room: Arc<Semaphore>,
    /// Whose they are.
    owner: Owner,
}

impl Scripts {
    pub fn new(cgi: Cgi) -> Self {
        let user = User::for_scripts();
        Self { cgi, user, room: Arc::new(Semaphore::new(MAX_SCRIPTS)), owner: Owner::new() }
    }

    /// Starts `script` for `request`. An error is what its client is told; the log says why.
    pub async fn start(
        &self,
        script: &Script,
        request: Request<'_>,
        has_body: bool,
    ) -> Result<Running, Ending> {
        let failed = |ending, reason: &dyn std::fmt::Display| {
            tracing::warn!(target: LOG_REQUEST, "CGI script {:?} was not run: {reason}", script.name);
            ending
        };
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            return Err(failed(Ending::ManyScripts, &format!("{MAX_SCRIPTS} scripts are running")));
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
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Err(failed(Ending::NotForScripts, &error));
                }
                Err(error) => return Err(failed(Ending::ScriptFailed, &error)),
            }
        };
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let Some((stdout, stderr)) = stdout.zip(stderr) else {
            return Err(failed(Ending::ScriptFailed, &"it has no output"));
        };
        tokio::spawn(log_errors(stderr, script.name.to_string_lossy().into_owned()));
        Ok(Running::new(Process::new(child, self.owner), stdin, stdout, permit))
    }

    /// Asks all scripts to end. Returns whether there are any.
    pub fn ask_to_end(&self) -> bool {
        let has_any = self.owner.has_any();
        self.owner.send(Signal::TERM);
        has_any
    }

    /// Ends all scripts, and what is left of earlier ones.
    pub fn kill(&self) {
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
            user.run(&mut command);
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
