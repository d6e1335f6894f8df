//! The WebSocket that tells open pages what is new.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};

use super::report::{Extent, report};
use super::shared::Shared;

/// How many connections an open page is told of; `/api` tells of all.
const MOST_SHOWN: usize = 200;

/// How many bytes a message of a page may have. None is expected.
pub(super) const MAX_MESSAGE_SIZE: usize = 4096;

/// Tells an open page everything, and then each second what is new, until it goes or the server stops.
pub(super) async fn tell(mut socket: WebSocket, shared: Arc<Shared>) {
    let mut ticks = shared.samples.subscribe();
    let mut extent = Extent { connections: MOST_SHOWN, ..Extent::EVERYTHING };
    loop {
        let report = report(&*shared.monitor, &shared.samples, &extent);
        extent = extent.after(&report);
        let sent = socket.send(Message::Text(report.to_string().into()));
        // A page that does not read holds up no stop.
        if !matches!(shared.stop.run_until_cancelled(sent).await, Some(Ok(()))) {
            return;
        }
        loop {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                changed = ticks.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                received = socket.recv() => match received {
                    // Nothing is expected of a page; pings are answered by the library.
                    Some(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    }
}
