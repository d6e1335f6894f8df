//! How long a peer is waited for that takes nothing, or sends nothing: each has a time limit, and gets time back
//! for what it moves. So one that stops is given up, one that trickles is, too, and a slow one is not.
//!
//! Must not import anything of this crate but `platform`.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::platform::unsent_bytes;

/// The slowest that a peer may be in the long run, in bytes a second: what the oldest modems did.
pub const SLOWEST_RATE: u64 = 240;

/// What is left of the time for a peer.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    left: Duration,
}

impl Patience {
    /// For a peer that may keep us waiting for `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, left: limit }
    }

    /// How much longer the peer is waited for.
    #[must_use]
    pub const fn left(&self) -> Duration {
        self.left
    }

    /// We waited for `waited`, and then the peer had moved `bytes`.
    pub fn settle(&mut self, waited: Duration, bytes: usize) {
        let micros = (bytes as u64).saturating_mul(1_000_000 / SLOWEST_RATE);
        let earned = Duration::from_micros(micros);
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(self.limit);
    }
}

/// A socket whose writes fail with [`io::ErrorKind::TimedOut`] when the peer does not take what it is sent. A
/// write that need not wait costs nothing more.
pub struct Patient<S> {
    socket: S,
    patience: Patience,
    /// Since when a write waits, and how much the system had still to send then.
    waiting: Option<(Instant, usize)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S: AsFd> Patient<S> {
    /// `socket`, whose peer may keep us waiting for `limit`.
    pub fn new(socket: S, limit: Duration) -> Self {
        Self { socket, patience: Patience::new(limit), waiting: None, timer: None }
    }

    /// The socket without a limit.
    pub fn into_inner(self) -> S {
        self.socket
    }

    /// The socket.
    pub fn get_ref(&self) -> &S {
        &self.socket
    }

    /// `result` of a write, or the end of our patience. `written` is how many bytes went out.
    fn limited<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
        written: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = result {
            if let Some((since, unsent)) = self.waiting.take() {
                let written = result.as_ref().map_or(0, written);
                let taken = (unsent + written).saturating_sub(unsent_bytes(&self.socket));
                self.patience.settle(since.elapsed(), taken.max(written));
            }
            return Poll::Ready(result);
        }
        loop {
            if self.waiting.is_none() {
                let now = Instant::now();
                self.waiting = Some((now, unsent_bytes(&self.socket)));
                let deadline = now + self.patience.left();
                match &mut self.timer {
                    Some(timer) => timer.as_mut().reset(deadline),
                    None => self.timer = Some(Box::pin(sleep_until(deadline))),
                }
            }
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(context));
            }
            // A full buffer takes more only once there is much room in it. The system knows what was taken of it.
            if let Some((since, unsent)) = self.waiting.take() {
                let taken = unsent.saturating_sub(unsent_bytes(&self.socket));
                self.patience.settle(since.elapsed(), taken);
            }
            if self.patience.left().is_zero() {
                // What waits in the system would wait there for minutes. An error: the peer is gone.
                let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
    }
}

impl<S: AsFd> AsFd for Patient<S> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + AsFd + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.socket).poll_write(context, data);
        this.limited(context, result, |count| *count)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.socket).poll_write_vectored(context, parts);
        this.limited(context, result, |count| *count)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.socket).poll_flush(context);
        this.limited(context, result, |()| 0)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.socket).poll_shutdown(context);
        this.limited(context, result, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpStream;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(300);

    #[test]
    fn what_is_moved_gives_time_back() {
        let mut patience = Patience::new(Duration::from_secs(10));
        patience.settle(Duration::from_secs(4), 0);
        assert_eq!(patience.left(), Duration::from_secs(6));
        // A byte each 2 s is too little.
        patience.settle(Duration::from_secs(2), 1);
        assert!(patience.left() < Duration::from_millis(4_010), "{:?}", patience.left());
        patience.settle(Duration::from_secs(2), 1000);
        assert!(patience.left() > Duration::from_secs(6), "{:?}", patience.left());
        patience.settle(Duration::ZERO, usize::MAX);
        assert_eq!(patience.left(), Duration::from_secs(10), "never more than the limit");
        patience.settle(Duration::MAX, 0);
        assert_eq!(patience.left(), Duration::ZERO);
    }

    /// A socket of ours with small buffers, and its peer's.
    async fn pair() -> (TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        SockRef::from(&listener).set_recv_buffer_size(4096).expect("a size");
        let ours = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a socket");
        SockRef::from(&ours).set_send_buffer_size(4096).expect("a size");
        (ours, listener.accept().expect("its peer").0)
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (ours, _peer) = pair().await;
        let mut ours = Patient::new(ours, LIMIT);
        let error = ours.write_all(&vec![0; 1 << 20]).await.expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_the_peer_takes_counts_before_there_is_room() {
        let (ours, mut peer) = pair().await;
        let mut ours = Patient::new(ours, Duration::from_secs(60));
        let sends = async |ours: &mut Patient<TcpStream>| {
            std::future::poll_fn(|context| {
                let result = Pin::new(&mut *ours).poll_write(context, &[0; 4096]);
                Poll::Ready(match result {
                    Poll::Ready(result) => Some(result.map_err(|error| error.kind())),
                    Poll::Pending => None,
                })
            })
            .await
        };
        while sends(&mut ours).await.is_some() {}
        // As if the wait had begun more than a minute ago, and its timer were at its end.
        let minute_passes = async |ours: &mut Patient<TcpStream>| {
            let (since, _) = ours.waiting.as_mut().expect("it waits");
            *since -= Duration::from_secs(61);
            let timer = ours.timer.as_mut().expect("a timer");
            timer.as_mut().reset(Instant::now());
            while !timer.is_elapsed() {
                tokio::task::yield_now().await;
            }
        };
        let before = unsent_bytes(&ours);
        let mut taken = 0;
        while unsent_bytes(&ours) == before {
            taken += peer.read(&mut [0; 512]).expect("bytes");
        }
        assert!(taken > 0);
        minute_passes(&mut ours).await;
        assert!(!matches!(sends(&mut ours).await, Some(Err(_))), "it took something");
        // What is on its way may still arrive, but the peer reads no more.
        let end = loop {
            match sends(&mut ours).await {
                None => minute_passes(&mut ours).await,
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
            }
        };
        assert_eq!(end, io::ErrorKind::TimedOut);
    }
}
