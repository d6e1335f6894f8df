//! Work on connections that do little each: short ones, idle ones, and those that are sent to.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wshost::websocket::frame::opcode;

use crate::wire::{Stream, masked, plain};
use crate::{Clock, Failure, Target, process};

/// How long a server gets for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A text of the size that the other rows have.
const TEXT: &[u8] = &[b'x'; 125];
/// How long memory gets to settle.
const SETTLE: Duration = Duration::from_millis(500);
/// How many connections are opened or asked at the same time.
const AT_ONCE: usize = 32;

#[derive(Args)]
pub struct ConnectOptions {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    clock: Clock,
    /// How many connections at a time.
    #[arg(long, default_value_t = 8)]
    at_once: u32,
}

#[derive(Args)]
pub struct IdleOptions {
    #[command(flatten)]
    target: Target,
    /// How many connections.
    #[arg(long)]
    connections: usize,
}

#[derive(Args)]
pub struct BroadcastOptions {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    clock: Clock,
    /// How many connections are sent to.
    #[arg(long)]
    connections: usize,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1024)]
    size: usize,
}

async fn echo_once(stream: &mut Stream) -> Result<(), Failure> {
    stream.write_all(&masked(opcode::TEXT, false, TEXT)).await?;
    let answer = timeout(PATIENCE, stream.expect(&plain(opcode::TEXT, TEXT))).await;
    answer.map_err(|_| "a connection does not answer")?
}

/// Opens, echoes once, closes and waits for the end of the stream, again and again.
pub async fn connect(options: ConnectOptions) -> Result<Value, Failure> {
    let begin = Instant::now() + options.clock.warm_up();
    let end = begin + options.clock.measured();
    let mut tasks = JoinSet::new();
    for _ in 0..options.at_once {
        let target = options.target.clone();
        tasks.spawn(async move {
            let mut count = 0_u32;
            loop {
                let mut stream = Stream::open(&target, false).await?;
                echo_once(&mut stream).await?;
                stream.close().await?;
                let now = Instant::now();
                if now >= end {
                    return Ok::<_, Failure>(count);
                }
                count += u32::from(now >= begin);
            }
        });
    }
    sleep(options.clock.warm_up()).await;
    let cpu = process::cpu_seconds(options.target.pid);
    sleep(options.clock.measured()).await;
    let cpu = process::cpu_seconds(options.target.pid) - cpu;
    let mut count = 0.0;
    while let Some(ended) = tasks.join_next().await {
        count += f64::from(ended??);
    }
    Ok(json!({ "connections_per_s": count / options.clock.seconds, "cpu_us": cpu * 1e6 / count }))
}

/// Opens connections (each echoes once, so that its handler waits for a message), lets them be, and asks each again.
pub async fn idle(options: IdleOptions) -> Result<Value, Failure> {
    let target = &options.target;
    // What a server makes once, it makes for the first connection.
    let mut first = Stream::open(target, false).await?;
    echo_once(&mut first).await?;
    sleep(SETTLE).await;
    let before = process::resident_bytes(target.pid);
    let start = Instant::now();
    let mut streams = Vec::new();
    while streams.len() < options.connections {
        let mut opening = JoinSet::new();
        for _ in 0..AT_ONCE.min(options.connections - streams.len()) {
            let target = target.clone();
            opening.spawn(async move {
                let mut stream = Stream::open(&target, false).await?;
                echo_once(&mut stream).await?;
                Ok::<_, Failure>(stream)
            });
        }
        while let Some(opened) = opening.join_next().await {
            streams.push(opened??);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    sleep(SETTLE).await;
    let grown = process::resident_bytes(target.pid) - before;
    for stream in &mut streams {
        echo_once(stream).await?;
    }
    let count = f64::from(u32::try_from(streams.len())?);
    Ok(json!({ "kib_each": grown / count / 1024.0, "opened_per_s": count / seconds }))
}

/// One connection sends a message that its handler gives to all others; when they have it, the next one.
pub async fn broadcast(options: BroadcastOptions) -> Result<Value, Failure> {
    let mut listeners = Vec::new();
    for _ in 0..options.connections {
        let mut stream = Stream::open(&options.target, false).await?;
        // The handler answers once it knows the connection.
        stream.write_all(&masked(opcode::TEXT, false, b"join")).await?;
        stream.expect(&plain(opcode::TEXT, b"joined")).await?;
        listeners.push(stream);
    }
    let mut sender = Stream::open(&options.target, false).await?;
    let text = vec![b'b'; options.size];
    let (frame, expected) = (masked(opcode::TEXT, false, &text), plain(opcode::TEXT, &text));
    let warm = Instant::now() + options.clock.warm_up();
    let (mut count, mut start, mut cpu) = (0.0, None, 0.0);
    let seconds = loop {
        sender.write_all(&frame).await?;
        for stream in &mut listeners {
            timeout(PATIENCE, stream.expect(&expected)).await.map_err(|_| "a connection got nothing")??;
        }
        match start {
            None if Instant::now() < warm => {}
            None => {
                start = Some(Instant::now());
                cpu = process::cpu_seconds(options.target.pid);
            }
            Some(start) => {
                count += f64::from(u32::try_from(options.connections)?);
                let seconds = start.elapsed().as_secs_f64();
                if seconds >= options.clock.seconds {
                    break seconds;
                }
            }
        }
    };
    let cpu = process::cpu_seconds(options.target.pid) - cpu;
    Ok(json!({ "messages_per_s": count / seconds, "cpu_us": cpu * 1e6 / count }))
}
