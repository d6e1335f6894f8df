//! Answers to messages that came together go out together.
//!
//! While the next frame is here already, a handler most likely answers that one, too. What it sends is kept back by the
//! system (`MSG_MORE`) and goes out with what is sent last, in one segment. It goes out before anybody waits for the peer,
//! and after [`LIMIT`] at the latest: a handler may do something else first.

use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::per_process::PerProcess;
use crate::websocket::frame::{HeaderStep, parse_header};
use crate::wire::socket::Socket;
use crate::wire::transport::Duplex;

/// How long something is kept back.
const LIMIT: Duration = Duration::from_millis(1);

/// How long the thread waits for more to do.
const IDLE_TIME: Duration = Duration::from_secs(1);

pub(crate) static CORKED: PerProcess<Corked> = PerProcess::new(Corked::new(), Corked::new);

/// The connections with something kept back. The thread `wsh-cork` sends it.
pub(crate) struct Corked {
    state: Mutex<State>,
    more: Condvar,
}

struct State {
    sockets: Vec<Weak<Socket>>,
    has_thread: bool,
}

impl Corked {
    const fn new() -> Self {
        Self { state: Mutex::new(State { sockets: Vec::new(), has_thread: false }), more: Condvar::new() }
    }

    fn add(&'static self, socket: &Arc<Socket>) {
        let mut state = self.state.lock();
        state.sockets.push(Arc::downgrade(socket));
        if state.has_thread {
            self.more.notify_one();
            return;
        }
        let started = thread::Builder::new().name("wsh-cork".to_owned()).spawn(|| {
            while self.wait() {
                thread::sleep(LIMIT);
                let sockets = mem::take(&mut self.state.lock().sockets);
                uncork(sockets);
            }
        });
        state.has_thread = started.is_ok();
        if !state.has_thread {
            // Then nothing is kept back.
            uncork(mem::take(&mut state.sockets));
        }
    }

    /// Waits for something to do. `false`: there is nothing, and the thread ends.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        self.more.wait_while_for(&mut state, |state| state.sockets.is_empty(), IDLE_TIME);
        state.has_thread = !state.sockets.is_empty();
        state.has_thread
    }
}

fn uncork(sockets: Vec<Weak<Socket>>) {
    for socket in sockets.iter().filter_map(Weak::upgrade) {
        if let Ok(stream) = socket.open() {
            socket.uncork(&stream);
        }
    }
}

impl Socket {
    /// Whether the next frame is here as a whole, so that nobody has to wait for it.
    pub fn has_next_frame(&self) -> bool {
        self.unread.try_lock().is_some_and(|unread| {
            matches!(parse_header(&unread), Ok(HeaderStep::Done { header, length })
                if header.payload_length <= (unread.len() - length) as u64)
        })
    }

    /// Says whether the system may keep back what was written last.
    pub(super) fn set_corked(self: &Arc<Self>, corked: bool) {
        if !self.corked.swap(corked, Ordering::AcqRel) && corked {
            CORKED.get().add(self);
        }
    }

    /// Sends what the system keeps back; `stream` is this socket's.
    pub(super) fn uncork(&self, stream: &Duplex) {
        if self.corked.load(Ordering::Relaxed) && self.corked.swap(false, Ordering::AcqRel) {
            stream.push();
        }
    }
}

#[cfg(test)]
mod tests;
