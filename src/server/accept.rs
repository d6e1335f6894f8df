//! Takes connections, each served by a task of its own.
//!
//! Must not import `bridge` or pyo3.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::Context;
use super::listening::Listener;
use super::requests;
use crate::descriptors;
use crate::logging::LOG_SERVER;

/// How long `accept` rests after an error such as too many open files, which would come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections, each served by a task of its own, until the stop.
pub(super) async fn accept(
    listener: Listener,
    context: Arc<Context>,
    connections: TaskTracker,
    end: CancellationToken,
) {
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            () = context.stop.cancelled() => return,
            () = end.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                // A handler may have closed them since the last time.
                descriptors::keep_standard();
                if std::mem::take(&mut is_failing) {
                    tracing::info!(target: LOG_SERVER, "Accepting connections again");
                }
                // In a box: it is large, and what is wrapped around it moves it about.
                let connection = Box::pin(requests::serve(Arc::clone(&context), socket, peer));
                let end = end.clone();
                connections.spawn(async move { end.run_until_cancelled(connection).await });
            }
            Err(error) => {
                // Once, not at each try: the log must not fill up while there is nothing to be done.
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(
                        target: LOG_SERVER,
                        "Cannot accept a connection: {error}; trying again until it works"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
