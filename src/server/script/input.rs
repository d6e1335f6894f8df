//! What the client of a script sends: the body of its request, and the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdin;
use tokio::time::{sleep, timeout};

use crate::patience::Patience;
use crate::server::ending::Ending;

/// How much there is room for in one read of a client or a script, in bytes.
pub(super) const READ_SIZE: usize = 16 * 1024;
/// How long a script may be silent after its client has closed its side: it may be gone, or only done with
/// sending.
const HALF_CLOSED_TIME: Duration = Duration::from_secs(2);

/// What the client sends.
pub(super) struct Input<'a, R> {
    pub(super) reader: R,
    pub(super) unread: &'a mut BytesMut,
    /// How much of the body is still to come.
    pub(super) left: u64,
    pub(super) patience: Patience,
}

impl<R: AsyncRead + Unpin> Input<'_, R> {
    /// Passes the body on to `stdin`, and then waits for the client's end; `sent` grows with each part of the
    /// response that it took. Returns when the client is gone, with what it should be told.
    pub(super) async fn feed(mut self, mut stdin: Option<ChildStdin>, sent: &AtomicU64) -> Ending {
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
                Ok(_) => return Ending::Silent,
                Err(_) => return Ending::SlowBody,
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
                Err(_) => return Ending::Silent,
            }
        }
        std::future::pending().await
    }
}

/// Returns when nothing was sent for a while.
async fn half_closed(sent: &AtomicU64) -> Ending {
    loop {
        let before = sent.load(Ordering::Relaxed);
        sleep(HALF_CLOSED_TIME).await;
        if sent.load(Ordering::Relaxed) == before {
            return Ending::Silent;
        }
    }
}
