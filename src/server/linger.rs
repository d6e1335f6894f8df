//! The end of a connection: the client can read all that it was sent.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::{LINGER_AT_STOP, LINGER_BYTES, LINGER_TIME};

/// How much is read at once from a client that sends on after the last response.
const WASTE_SIZE: usize = 16 * 1024;

/// Closes our side of `socket`, and reads on within the limits until the client closes its own. A stop makes it short.
pub(super) async fn linger(socket: impl AsyncRead + AsyncWrite, stop: CancellationToken) {
    let (mut reader, mut writer) = tokio::io::split(socket);
    // What TLS has to say at the end may have to wait for a client that sends all it has before it reads.
    let shut = async {
        // Out of TLS or not: a client that is gone does not wait for it.
        let _ = writer.shutdown().await;
    };
    let drain = async {
        let mut waste = Vec::with_capacity(WASTE_SIZE);
        let mut left = LINGER_BYTES;
        while left > 0 {
            waste.clear();
            match reader.read_buf(&mut waste).await {
                Ok(0) | Err(_) => break,
                Ok(count) => left = left.saturating_sub(count as u64),
            }
        }
    };
    let stopped = async {
        stop.cancelled().await;
        sleep(LINGER_AT_STOP).await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(shut, drain) } => {}
        () = stopped => {}
        () = sleep(LINGER_TIME) => {}
    }
}
