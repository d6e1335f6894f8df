//! Echo on connections that stay open: each sends as soon as something came back.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wshost::websocket::deflate::{MessageDeflater, MessageInflater};
use wshost::websocket::frame::{HeaderStep, opcode, parse_header};

use crate::wire::{Stream, masked, plain};
use crate::{Clock, Failure, Kind, Target, process};

/// How long a server gets to answer what is still on its way when the measurement is over.
const LAST_ANSWERS: Duration = Duration::from_secs(20);

const READ_SIZE: usize = 256 * 1024;

static PHASE: AtomicU8 = AtomicU8::new(WARM_UP);
const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    clock: Clock,
    /// How many connections.
    #[arg(long)]
    connections: usize,
    /// Bytes of a message.
    #[arg(long)]
    size: usize,
    /// What the messages are.
    #[arg(long, value_enum, default_value_t = Kind::Text)]
    kind: Kind,
    /// Messages on their way at once on each connection.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
}

/// A message, and the frame that carries it.
struct Message {
    text: Vec<u8>,
    frame: Vec<u8>,
}

/// What one connection saw while it was measured.
#[derive(Default)]
struct Seen {
    /// Times from sending to the last byte back, in nanoseconds.
    latencies: Vec<u64>,
}

impl Seen {
    fn note(&mut self, sent: Option<Instant>) {
        if PHASE.load(Ordering::Relaxed) == MEASURE
            && let Some(sent) = sent
        {
            self.latencies.push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

/// Runs the work and tells of it.
pub async fn run(options: Options) -> Result<Value, Failure> {
    let messages = Arc::new(messages(options.kind, options.size));
    let mut streams = Vec::new();
    for _ in 0..options.connections {
        streams.push(Stream::open(&options.target, options.kind == Kind::Json).await?);
    }
    let mut tasks = JoinSet::new();
    for stream in streams {
        let messages = Arc::clone(&messages);
        if options.kind == Kind::Json {
            tasks.spawn(deflated(stream, messages));
        } else {
            tasks.spawn(as_they_are(stream, messages, options.kind, options.in_flight));
        }
    }
    sleep(options.clock.warm_up()).await;
    let own = std::process::id();
    let pid = options.target.pid;
    let (cpu, own_cpu) = (process::cpu_seconds(pid), process::cpu_seconds(own));
    let start = Instant::now();
    PHASE.store(MEASURE, Ordering::Relaxed);
    let failed = timeout(options.clock.measured(), tasks.join_next()).await;
    PHASE.store(STOP, Ordering::Relaxed);
    let seconds = start.elapsed().as_secs_f64();
    let (cpu, own_cpu) = (process::cpu_seconds(pid) - cpu, process::cpu_seconds(own) - own_cpu);
    let resident = process::resident_bytes(pid);
    if let Ok(Some(ended)) = failed {
        ended??;
    }
    let mut all = Vec::new();
    let mut least = u64::MAX;
    let ended = timeout(LAST_ANSWERS, async {
        while let Some(ended) = tasks.join_next().await {
            let seen = ended??;
            least = least.min(seen.latencies.len() as u64);
            all.extend(seen.latencies);
        }
        Ok::<_, Failure>(())
    });
    ended.await.map_err(|_| "the server did not answer all messages")??;
    all.sort_unstable();
    let count = all.len();
    let at = |percent: usize| all.get(count * percent / 100).map_or(0.0, |&time| as_f64(time) / 1000.0);
    let messages = as_f64(count as u64);
    Ok(json!({
        "messages_per_s": messages / seconds,
        "mb_per_s": messages * as_f64(options.size as u64) / seconds / 1e6,
        "cpu_us": cpu * 1e6 / messages,
        "load_cpu_us": own_cpu * 1e6 / messages,
        "server_cores": cpu / seconds,
        "load_cores": own_cpu / seconds,
        "p50_us": at(50),
        "p99_us": at(99),
        "fewest_messages": least,
        "resident_mib": resident / f64::from(1 << 20),
    }))
}

/// Counts and times stay far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn as_f64(value: u64) -> f64 {
    value as f64
}

fn messages(kind: Kind, size: usize) -> Vec<Message> {
    let message = |opcode, text: Vec<u8>| Message { frame: masked(opcode, false, &text), text };
    match kind {
        Kind::Text => vec![message(opcode::TEXT, (b' '..=b'~').cycle().take(size).collect())],
        Kind::Binary => vec![message(opcode::BINARY, (0..=255).cycle().take(size).collect())],
        Kind::Json => (0..32)
            .map(|number| {
                let text = json_text(number, size);
                // Without context: any of them may follow any other.
                let deflated = MessageDeflater::new(15, true).filter(&text, true, false).expect("memory");
                Message { frame: masked(opcode::TEXT, true, &deflated), text }
            })
            .collect(),
    }
}

/// Records as a service might send them, cut at `size` bytes.
fn json_text(number: u32, size: usize) -> Vec<u8> {
    let mut text = "[".to_owned();
    let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(12345);
    while text.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let _ = write!(
            text,
            "{{\"id\": {}, \"user\": \"user{:05}\", \"active\": {}, \"score\": {}.{:02}, \"tags\": [\"a{}\", \"b{}\"]}}, ",
            state >> 8,
            state % 99_991,
            state & 64 == 0,
            state % 1000,
            state % 97,
            state % 17,
            state % 23,
        );
    }
    text.truncate(size);
    text.into_bytes()
}

/// Frames that come back as they went out, but for the mask: compared without being parsed.
async fn as_they_are(
    mut stream: Stream,
    messages: Arc<Vec<Message>>,
    kind: Kind,
    in_flight: usize,
) -> Result<Seen, Failure> {
    let opcode = if kind == Kind::Text { opcode::TEXT } else { opcode::BINARY };
    let message = &messages[0];
    let expected = plain(opcode, &message.text);
    let several = message.frame.repeat(in_flight);
    let mut buffer = vec![0; READ_SIZE];
    let mut seen = Seen::default();
    let mut sent = VecDeque::from(vec![Instant::now(); in_flight]);
    stream.write_all(&several).await?;
    let mut position = 0;
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err("the server closed the connection".into());
        }
        let mut rest = &buffer[..count];
        let mut complete = 0;
        while !rest.is_empty() {
            let length = rest.len().min(expected.len() - position);
            if rest[..length] != expected[position..position + length] {
                return Err("wrong echo".into());
            }
            rest = &rest[length..];
            position += length;
            if position == expected.len() {
                position = 0;
                complete += 1;
                seen.note(sent.pop_front());
            }
        }
        if PHASE.load(Ordering::Relaxed) == STOP {
            if sent.is_empty() {
                stream.close().await?;
                return Ok(seen);
            }
        } else if complete > 0 {
            sent.extend(std::iter::repeat_n(Instant::now(), complete));
            stream.write_all(&several[..complete * message.frame.len()]).await?;
        }
    }
}

/// Compressed messages, one at a time; what comes back is inflated and compared.
async fn deflated(mut stream: Stream, messages: Arc<Vec<Message>>) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let mut inflater = MessageInflater::default();
    let mut received = Vec::with_capacity(READ_SIZE);
    for message in messages.iter().cycle() {
        if PHASE.load(Ordering::Relaxed) == STOP {
            break;
        }
        let sent = Instant::now();
        stream.write_all(&message.frame).await?;
        received.clear();
        let text = loop {
            if stream.read_buf(&mut received).await? == 0 {
                return Err("the server closed the connection".into());
            }
            let Ok(HeaderStep::Done { header, length }) = parse_header(&received) else { continue };
            if (received.len() - length) as u64 == header.payload_length {
                let payload = &received[length..];
                let limit = message.text.len() as u64;
                break if header.rsv1 { inflater.inflate(payload, limit)? } else { payload.to_vec() };
            }
        };
        if text != message.text {
            return Err("wrong echo".into());
        }
        seen.note(Some(sent));
    }
    stream.close().await?;
    Ok(seen)
}
