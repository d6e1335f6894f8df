//! A sample of the traffic each second.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::clock::millis;
use crate::handlers::{Monitor, Totals};

/// How often a sample is taken.
const PERIOD: Duration = Duration::from_secs(1);
/// How many are kept: five minutes.
const LENGTH: usize = 300;

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

    /// Changes with each sample.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
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
pub(super) async fn sample(monitor: &dyn Monitor, samples: &Samples) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut before = (Instant::now(), monitor.totals());
    for number in 0.. {
        ticks.tick().await;
        let now = (Instant::now(), monitor.totals());
        samples.add(Sample {
            number,
            at: millis(SystemTime::now()),
            seconds: (now.0 - before.0).as_secs_f64(),
            open: monitor.connections().len(),
            traffic: now.1.since(&before.1),
        });
        before = now;
    }
}
