//! What is told, as JSON; docs/status.md describes it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::clock::{millis, started, uptime};
use super::samples::{Sample, Samples};
use crate::handlers::{ConnectionStatus, Digest, HandlerStatus, LoadError, Monitor, Reload, Totals, reloads};
use crate::logging::tail::{Kept, tail};

/// How much is told.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    /// The most connections, the newest ones.
    pub(super) connections: usize,
    /// Samples from this number on.
    pub(super) samples: u64,
    /// Log records from this number on.
    pub(super) records: u64,
}

impl Extent {
    pub(super) const EVERYTHING: Self = Self { connections: usize::MAX, samples: 0, records: 0 };

    /// What is left to tell to who got `report`.
    pub(super) fn after(&self, report: &Value) -> Self {
        let next = |list: &str, before: u64| {
            let last = report[list].as_array().and_then(|list| list.last()?.get("number")?.as_u64());
            last.map_or(before, |last| last + 1)
        };
        Self {
            connections: self.connections,
            samples: next("samples", self.samples),
            records: next("log", self.records),
        }
    }
}

/// Everything that `extent` takes in.
pub(super) fn report(monitor: &dyn Monitor, samples: &Samples, extent: &Extent) -> Value {
    let connections = monitor.connections();
    let newest = connections.len().saturating_sub(extent.connections);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "process": std::process::id(),
        "started_at": millis(started()),
        "uptime_seconds": uptime().as_secs_f64(),
        "totals": totals(&monitor.totals()),
        "handlers": monitor.handlers().iter().map(handler).collect::<Value>(),
        "open_connections": connections.len(),
        "connections": connections[newest..].iter().map(connection).collect::<Value>(),
        "reloads": reloads().iter().map(reload).collect::<Value>(),
        "samples": samples.since(extent.samples).iter().map(sample).collect::<Value>(),
        "log": tail(extent.records).iter().map(record).collect::<Value>(),
    })
}

fn totals(totals: &Totals) -> Value {
    json!({
        "connections": totals.connections,
        "messages_received": totals.messages_received,
        "messages_sent": totals.messages_sent,
        "bytes_received": totals.bytes_received,
        "bytes_sent": totals.bytes_sent,
    })
}

fn error(error: &LoadError) -> Value {
    json!({"message": error.message, "traceback": error.traceback})
}

fn handler(handler: &HandlerStatus) -> Value {
    let state = match (&handler.error, handler.loaded_at) {
        (None, Some(_)) => "serving",
        (None, None) => "loading",
        (Some(_), Some(_)) => "serving its last good version",
        (Some(_), None) => "failed",
    };
    let digest = handler.digest.map(hex);
    json!({
        "resource": handler.resource,
        "aliases": handler.aliases,
        "path": handler.path.to_string_lossy(),
        "state": state,
        "version": handler.version,
        "loaded_at": handler.loaded_at.map(millis),
        "sha256": digest,
        "error": handler.error.as_ref().map(error),
        "loading_since": handler.loading_since.map(millis),
        "open_connections": handler.open_connections,
        "old_connections": handler.old_connections,
        "depends_on": handler.depends_on.iter().map(|path| path.to_string_lossy()).collect::<Value>(),
    })
}

fn hex(digest: Digest) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn connection(connection: &ConnectionStatus) -> Value {
    json!({
        "number": connection.number,
        "resource": connection.resource,
        "peer": connection.peer.to_string(),
        "age_seconds": connection.age.as_secs_f64(),
        "state": connection.state.name(),
        "messages_received": connection.totals.messages_received,
        "messages_sent": connection.totals.messages_sent,
        "bytes_received": connection.totals.bytes_received,
        "bytes_sent": connection.totals.bytes_sent,
    })
}

fn reload(reload: &Reload) -> Value {
    let failed = reload
        .failed
        .iter()
        .map(|(path, reason)| json!({"path": path.to_string_lossy(), "error": error(reason)}));
    json!({
        "at": millis(reload.at),
        "took_seconds": reload.took.as_secs_f64(),
        "added": reload.added,
        "changed": reload.changed,
        "removed": reload.removed,
        "failed": failed.collect::<Value>(),
    })
}

fn sample(sample: &Sample) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "it is drawn")]
    let rate = |count: u64| count as f64 / sample.seconds;
    let traffic = &sample.traffic;
    json!({
        "number": sample.number,
        "at": sample.at,
        "open_connections": sample.open,
        "messages_received_per_second": rate(traffic.messages_received),
        "messages_sent_per_second": rate(traffic.messages_sent),
        "bytes_received_per_second": rate(traffic.bytes_received),
        "bytes_sent_per_second": rate(traffic.bytes_sent),
        "handler_micros_p50": traffic.quantile(0.5),
        "handler_micros_p99": traffic.quantile(0.99),
    })
}

fn record(kept: &Kept) -> Value {
    json!({
        "number": kept.number,
        "time": kept.time,
        "level": kept.level,
        "logger": kept.logger,
        "message": kept.message,
    })
}
