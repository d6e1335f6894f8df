//! What the log tells of the threads of handlers (`--thread-monitor-interval-in-sec`).

use std::fmt::Display;
use std::io;
use std::sync::Weak;
use std::thread;
use std::time::Duration;

use crate::config::LogLevel;
use crate::logging;

/// pywebsocket's logger for this.
const LOGGER: &str = "pywebsocket3.server_util.ThreadMonitor";

/// How many handler threads there are, and what each says of itself; pywebsocket's words.
fn report(threads: &[impl Display]) -> String {
    let list: Vec<String> = threads.iter().map(ToString::to_string).collect();
    format!("{} active threads: {}", list.len(), list.join(", "))
}

/// Logs now and every `interval` which threads `running` names, until `server` is dropped.
pub fn monitor<S: Send + Sync + 'static, T: Display>(
    interval: Duration,
    server: Weak<S>,
    running: impl Fn(&S) -> Vec<T> + Send + 'static,
) -> io::Result<()> {
    let log = move || {
        while let Some(server) = server.upgrade() {
            if logging::enabled(LogLevel::Info) {
                logging::emit(LogLevel::Info, LOGGER, &report(&running(&server)));
            }
            drop(server);
            thread::sleep(interval);
        }
    };
    thread::Builder::new().name("ThreadMonitor".to_owned()).spawn(log).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_each_thread() {
        assert_eq!(report(&[""; 0]), "0 active threads: ");
        assert_eq!(report(&["wsh-1 /a", "wsh-2 /b"]), "2 active threads: wsh-1 /a, wsh-2 /b");
    }
}
