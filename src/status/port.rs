//! The port of the status page: how many connections it has, and for how long each may keep us waiting. Whoever
//! connects here needs no token for that.
//!
//! Must not import anything of this crate but `logging` and `patience`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::logging::LOG_SERVER;
use crate::patience::Patient;

/// How many connections there are at once, open pages included. More wait until one of them ends.
const MOST_CONNECTIONS: usize = 64;

/// How many bytes the head of a request may have.
const MAX_HEAD_SIZE: usize = 16 * 1024;

/// How long accepting rests after an error, such as no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a client may keep us waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// For the head of its next request, be it the first one.
    pub(super) head: Duration,
    /// While it takes nothing of what it is sent.
    pub(super) write: Duration,
}

/// Serves `router` on `listener` until `stop` is cancelled.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    times: Times,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let accept = async {
        loop {
            // Only closing it is an error.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, _)) => {
                    let connection = connect(socket, router.clone(), times);
                    let stop = stop.clone();
                    tokio::spawn(async move {
                        stop.run_until_cancelled(connection).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(target: LOG_SERVER, "The status page cannot accept a connection: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accept).await;
    Ok(())
}

async fn connect(socket: TcpStream, router: Router, times: Times) {
    let socket = TokioIo::new(Patient::new(socket, times.write));
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.head)
        .max_buf_size(MAX_HEAD_SIZE)
        .serve_connection(socket, service)
        .await;
    if let Err(error) = served {
        tracing::debug!(target: LOG_SERVER, "A connection of the status page has ended: {error}");
    }
}
