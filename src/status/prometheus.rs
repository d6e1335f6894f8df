//! The counters in Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use crate::handlers::{Activity, BUCKETS, Monitor, bucket_end, reloads};

/// All metrics.
pub(super) fn metrics(monitor: &dyn Monitor) -> String {
    let (totals, connections, handlers) = (monitor.totals(), monitor.connections(), monitor.handlers());
    let mut text = Text::default();
    for (name, help, value) in [
        ("connections", "Connections that handlers got.", totals.connections),
        ("messages_received", "Whole messages from clients.", totals.messages_received),
        ("messages_sent", "Whole messages to clients.", totals.messages_sent),
        ("received_bytes", "Bytes from clients, frame headers included.", totals.bytes_received),
        ("sent_bytes", "Bytes to clients, frame headers included.", totals.bytes_sent),
    ] {
        text.begin(&format!("wshost_{name}_total"), "counter", help);
        text.value("", value);
    }
    text.begin(
        "wshost_open_connections",
        "gauge",
        "Connections that handlers have now, by what the handler does.",
    );
    for state in [Activity::Waiting, Activity::Sending, Activity::Running] {
        let count = connections.iter().filter(|connection| connection.state == state).count();
        text.value(&format!("{{state=\"{}\"}}", state.name()), count);
    }
    text.begin("wshost_handler_connections", "gauge", "Connections of each handler that are open.");
    for handler in handlers.iter().filter(|handler| handler.version > 0) {
        let resource = escaped(handler.resource.as_deref().unwrap_or_default());
        let count = handler.open_connections + handler.old_connections;
        text.value(&format!("{{resource=\"{resource}\"}}"), count);
    }
    text.begin("wshost_handler_files_failed", "gauge", "Handler files that do not load as they are now.");
    text.value("", handlers.iter().filter(|handler| handler.error.is_some()).count());
    text.begin("wshost_last_reload_seconds", "gauge", "How long the last reload took; none yet: 0.");
    text.value("", reloads().last().map_or(0.0, |reload| reload.took.as_secs_f64()));
    let help = "How long handlers took with a message, until they asked for the next one.";
    text.begin("wshost_handler_seconds", "histogram", help);
    let mut count = 0;
    for (bucket, times) in totals.handler_times.iter().enumerate() {
        count += times;
        let end =
            if bucket + 1 == BUCKETS { "+Inf".to_owned() } else { seconds(bucket_end(bucket)).to_string() };
        text.value(&format!("_bucket{{le=\"{end}\"}}"), count);
    }
    text.value("_sum", seconds(totals.handler_micros));
    text.value("_count", count);
    text.out
}

#[derive(Default)]
struct Text {
    out: String,
    name: String,
}

impl Text {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        name.clone_into(&mut self.name);
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// `rest` is what comes after the name.
    fn value(&mut self, rest: &str, value: impl Display) {
        let _ = writeln!(self.out, "{}{rest} {value}", self.name);
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 285 years")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
