//! The events that tell open pages what is new.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{Event, Sse};
use futures_util::stream::{Stream, unfold};

use super::report::{Extent, report};
use super::shared::Shared;

/// How many connections an open page is told of; `/api` tells of all.
const MOST_SHOWN: usize = 200;

/// Everything at once, and then each second what is new, for as long as the connection takes it.
///
/// A report is made when the last one has gone to the system: a page that does not read costs one report, and then no
/// more.
pub(super) fn tell(shared: Arc<Shared>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ticks = shared.samples.subscribe();
    let extent = Extent { connections: MOST_SHOWN, ..Extent::EVERYTHING };
    Sse::new(unfold((shared, ticks, extent, true), |(shared, mut ticks, extent, is_first)| async move {
        if !is_first {
            ticks.changed().await.ok()?;
        }
        let report = report(&*shared.monitor, &shared.samples, &extent);
        let extent = extent.after(&report);
        // JSON on one line, as this is, is one line of the event.
        Some((Ok(Event::default().data(report.to_string())), (shared, ticks, extent, false)))
    }))
}
