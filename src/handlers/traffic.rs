//! What goes over the connections that handlers have: counters, and what is told of them.
//!
//! The counters are relaxed atomics of each connection, written by its own threads, so that counting costs a
//! few nanoseconds a message and no connection slows another. Must not import pyo3 or tokio.

use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::status::HandlerStatus;

/// How many buckets [`Totals::handler_times`] has.
pub const BUCKETS: usize = 26;

/// What times in [`Counters`] count from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Makes what all processes share and what is made when it is first asked for: a child that is forked meanwhile would
/// wait for it for ever.
pub(super) fn prepare_for_forks() {
    LazyLock::force(&EPOCH);
}

/// What the status page asks of a server.
pub trait Monitor: Send + Sync + 'static {
    /// Every handler file, by path.
    fn handlers(&self) -> Vec<HandlerStatus>;

    /// The connections that handlers have now, by number.
    fn connections(&self) -> Vec<ConnectionStatus>;

    /// All that went over connections since the process began, ended ones included.
    fn totals(&self) -> Totals;
}

/// A connection that a handler has.
#[derive(Debug, Clone)]
pub struct ConnectionStatus {
    /// Its number, the one in its thread's name.
    pub number: u64,
    /// The resource that it asked for.
    pub resource: String,
    /// The client's address.
    pub peer: SocketAddr,
    /// How long the handler has had it.
    pub age: Duration,
    /// What its handler does.
    pub state: Activity,
    /// What went over it.
    pub totals: Totals,
}

/// What a handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It waits for the client to send.
    Waiting,
    /// It waits for the client to take what it sends.
    Sending,
    /// Anything else: its own code, or waiting for something else than the client.
    Running,
}

impl Activity {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Running => "running",
        }
    }
}

/// What went over one connection, or over many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many connections were counted here.
    pub connections: u64,
    /// Whole messages from clients.
    pub messages_received: u64,
    /// Whole messages to clients.
    pub messages_sent: u64,
    /// Bytes from clients, frame headers included, TLS and the opening handshake not.
    pub bytes_received: u64,
    /// Bytes to clients, likewise; answers to opening handshakes included.
    pub bytes_sent: u64,
    /// How long handlers took with a message, from its arrival until they asked for the next one: how often less
    /// than 2^i µs for bucket i, and not less than for the bucket before. The last one has the rest.
    pub handler_times: [u64; BUCKETS],
    /// The sum of these times, in µs.
    pub handler_micros: u64,
}

impl Totals {
    /// The time that a part `rank` (0 to 1) of the handlers' times is not above, in µs: the upper end of a bucket.
    /// `None`: there are no times.
    #[must_use]
    pub fn quantile(&self, rank: f64) -> Option<u64> {
        let count: u64 = self.handler_times.iter().sum();
        if count == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let wanted = ((count as f64 * rank).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        self.handler_times
            .iter()
            .position(|times| {
                seen += times;
                seen >= wanted
            })
            .map(bucket_end)
    }

    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut times = self.handler_times;
        for (time, before) in times.iter_mut().zip(before.handler_times) {
            *time = time.saturating_sub(before);
        }
        Self {
            connections: self.connections.saturating_sub(before.connections),
            messages_received: self.messages_received.saturating_sub(before.messages_received),
            messages_sent: self.messages_sent.saturating_sub(before.messages_sent),
            bytes_received: self.bytes_received.saturating_sub(before.bytes_received),
            bytes_sent: self.bytes_sent.saturating_sub(before.bytes_sent),
            handler_times: times,
            handler_micros: self.handler_micros.saturating_sub(before.handler_micros),
        }
    }
}

impl AddAssign<&Self> for Totals {
    fn add_assign(&mut self, other: &Self) {
        self.connections += other.connections;
        self.messages_received += other.messages_received;
        self.messages_sent += other.messages_sent;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        for (time, more) in self.handler_times.iter_mut().zip(other.handler_times) {
            *time += more;
        }
        self.handler_micros += other.handler_micros;
    }
}

/// What the times in a bucket are less than, in µs.
#[must_use]
pub fn bucket_end(bucket: usize) -> u64 {
    1 << bucket
}

/// The bucket of a time in µs.
fn bucket_of(micros: u64) -> usize {
    ((u64::BITS - micros.leading_zeros()) as usize).min(BUCKETS - 1)
}

/// Counts what goes over one connection.
#[derive(Debug, Default)]
pub struct Counters {
    messages_received: AtomicU64,
    messages_sent: AtomicU64,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    handler_times: [AtomicU64; BUCKETS],
    handler_micros: AtomicU64,
    /// When the handler got a message that it has not come back from, in µs since [`EPOCH`], and 1; 0: never.
    given_at: AtomicU64,
    is_reading: AtomicBool,
    is_writing: AtomicBool,
}

/// Says that a thread waits for the client, until it is dropped.
pub struct Wait<'c>(&'c AtomicBool);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Counters {
    /// A thread reads.
    #[must_use]
    pub fn reading(&self) -> Wait<'_> {
        self.is_reading.store(true, Ordering::Relaxed);
        Wait(&self.is_reading)
    }

    /// A thread writes.
    #[must_use]
    pub fn writing(&self) -> Wait<'_> {
        self.is_writing.store(true, Ordering::Relaxed);
        Wait(&self.is_writing)
    }

    /// So many bytes came.
    pub fn received(&self, bytes: u64) {
        self.bytes_received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes went.
    pub fn sent(&self, bytes: u64) {
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The last frame of a message went.
    pub fn message_sent(&self) {
        self.messages_sent.fetch_add(1, Ordering::Relaxed);
    }

    /// The last frame of a message came and goes to the handler now.
    pub fn message_given(&self) {
        self.messages_received.fetch_add(1, Ordering::Relaxed);
        self.given_at.store(now() + 1, Ordering::Relaxed);
    }

    /// The handler asks for the next message: it is done with the last one.
    pub fn message_wanted(&self) {
        let given_at = self.given_at.swap(0, Ordering::Relaxed);
        if given_at != 0 {
            let micros = now().saturating_sub(given_at - 1);
            self.handler_times[bucket_of(micros)].fetch_add(1, Ordering::Relaxed);
            self.handler_micros.fetch_add(micros, Ordering::Relaxed);
        }
    }

    /// What the handler does now.
    #[must_use]
    pub fn state(&self) -> Activity {
        if self.is_writing.load(Ordering::Relaxed) {
            Activity::Sending
        } else if self.is_reading.load(Ordering::Relaxed) {
            Activity::Waiting
        } else {
            Activity::Running
        }
    }

    /// What went over the connection.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            connections: 1,
            messages_received: load(&self.messages_received),
            messages_sent: load(&self.messages_sent),
            bytes_received: load(&self.bytes_received),
            bytes_sent: load(&self.bytes_sent),
            handler_times: self.handler_times.each_ref().map(load),
            handler_micros: load(&self.handler_micros),
        }
    }
}

/// µs since [`EPOCH`].
fn now() -> u64 {
    u64::try_from(EPOCH.elapsed().as_micros()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_is_less_than_their_end() {
        for (micros, bucket) in
            [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1023, 10), (1024, 11), (u64::MAX, 25)]
        {
            assert_eq!(bucket_of(micros), bucket, "{micros}");
            assert!(micros < bucket_end(bucket) || bucket == BUCKETS - 1, "{micros}");
        }
    }

    #[test]
    fn quantiles_are_the_upper_ends() {
        let mut totals = Totals::default();
        assert_eq!(totals.quantile(0.5), None);
        totals.handler_times[3] = 98;
        totals.handler_times[7] = 2;
        assert_eq!(
            [0.0, 0.5, 0.98, 0.99, 1.0].map(|rank| totals.quantile(rank)),
            [8, 8, 8, 128, 128].map(Some)
        );
    }

    #[test]
    fn a_connection_counts_what_it_does() {
        let counters = Counters::default();
        assert_eq!(counters.state(), Activity::Running);
        counters.message_wanted();
        {
            let _read = counters.reading();
            assert_eq!(counters.state(), Activity::Waiting);
            let _write = counters.writing();
            assert_eq!(counters.state(), Activity::Sending);
        }
        assert_eq!(counters.state(), Activity::Running);
        counters.received(10);
        counters.message_given();
        counters.sent(20);
        counters.message_sent();
        assert_eq!(counters.totals().handler_times.iter().sum::<u64>(), 0);
        counters.message_wanted();
        counters.message_wanted();
        let totals = counters.totals();
        assert_eq!(totals.handler_times.iter().sum::<u64>(), 1);
        let told = [totals.messages_received, totals.messages_sent, totals.bytes_received, totals.bytes_sent];
        assert_eq!(told, [1, 1, 10, 20]);
    }

    #[test]
    fn totals_add_up_and_take_away() {
        let counters = Counters::default();
        counters.message_given();
        counters.message_wanted();
        counters.sent(5);
        let one = counters.totals();
        let mut two = one.clone();
        two += &one;
        assert_eq!((two.connections, two.bytes_sent, two.messages_received), (2, 10, 2));
        assert_eq!(two.since(&one), one);
    }
}
