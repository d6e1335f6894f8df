//! What changes: a sample of the traffic each second, and the WebSocket that tells open pages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::ws::{Message, WebSocket};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::Shared;
use super::report::{self, Extent, millis};
use crate::handlers::Totals;

/// How often a sample is taken.
const PERIOD: Duration = Duration::from_secs(1);
/// How many are kept: five minutes.
const LENGTH: usize = 300;
/// How many connections an open page is told of; `/api` tells of all.
const MOST_CONNECTIONS: usize = 200;

/// How many bytes a message of a page may have. None is expected.
pub(super) const MAX_MESSAGE_SIZE: usize = 4096;

/// The traffic of one second.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Its number, from 0.
    pub(super) number: u64,
    /// When it ended, in ms since 1970.
    pub(super) at: u64,
    /// How long it really was.
    pub(super) seconds: f64,
    /// How many connections there were at its end.
    pub(super) open: usize,
    /// What was added.
    pub(super) traffic: Totals,
}

/// The last samples.
pub(super) struct Samples {
    kept: Mutex<VecDeque<Sample>>,
    /// How many were taken.
    count: watch::Sender<u64>,
}

impl Default for Samples {
    fn default() -> Self {
        Self { kept: Mutex::default(), count: watch::channel(0).0 }
    }
}

impl Samples {
    /// Those from number `from` on, the newest last.
    pub(super) fn since(&self, from: u64) -> Vec<Sample> {
        self.kept.lock().iter().filter(|sample| sample.number >= from).cloned().collect()
    }

    fn add(&self, sample: Sample) {
        let count = sample.number + 1;
        let mut kept = self.kept.lock();
        if kept.len() == LENGTH {
            kept.pop_front();
        }
        kept.push_back(sample);
        drop(kept);
        self.count.send_replace(count);
    }
}

/// Takes samples for ever.
pub(super) async fn sample(shared: Arc<Shared>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut before = (Instant::now(), shared.monitor.totals());
    for number in 0.. {
        ticks.tick().await;
        let now = (Instant::now(), shared.monitor.totals());
        shared.samples.add(Sample {
            number,
            at: millis(SystemTime::now()),
            seconds: (now.0 - before.0).as_secs_f64(),
            open: shared.monitor.connections().len(),
            traffic: now.1.since(&before.1),
        });
        before = now;
    }
}

/// Tells an open page everything, and then each second what is new, until it goes or the server stops.
pub(super) async fn tell(mut socket: WebSocket, shared: Arc<Shared>) {
    let mut ticks = shared.samples.count.subscribe();
    let mut extent = Extent { connections: MOST_CONNECTIONS, ..Extent::EVERYTHING };
    loop {
        let report = report::report(&*shared.monitor, &shared.samples, &extent);
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
