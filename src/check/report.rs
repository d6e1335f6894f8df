//! The report for people: a table, and below it what is wrong. Must not import pyo3.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

/// The functions of a handler, and what they are called in the table.
const FUNCTIONS: [(&str, &str); 3] = [
    ("web_socket_do_extra_handshake", "handshake"),
    ("web_socket_transfer_data", "data"),
    ("web_socket_passive_closing_handshake", "close"),
];

/// The columns of the table.
const HEADER: [&str; 5] = ["resource", "file", "functions", "imports", "state"];

/// The whole report on `handlers`, whose files lie below `root`; `map_problems`: what is wrong in the map file, if there
/// is one.
pub(super) fn table(handlers: &[Value], map_problems: Option<&[String]>, root: &Path) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    for handler in handlers {
        let functions =
            FUNCTIONS.iter().filter(|(name, _)| list(handler, "functions").any(|known| known == *name));
        let mut resources = vec![text(handler, "resource")];
        resources.extend(list(handler, "aliases"));
        rows.push([
            resources.join(", "),
            below(root, text(handler, "file")).into_owned(),
            functions.map(|(_, short)| *short).collect::<Vec<_>>().join(", "),
            list(handler, "imports").collect::<Vec<_>>().join(", "),
            state(handler),
        ]);
    }
    let widths: [usize; HEADER.len()] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    let mut report = String::new();
    for row in &rows {
        let padded: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(report, "{}", padded.join("  ").trim_end());
    }
    for problem in handlers.iter().flat_map(|handler| handler["problems"].as_array().into_iter().flatten()) {
        let line = problem["line"].as_u64().map_or_else(String::new, |line| format!(":{line}"));
        // Writing to a string cannot fail.
        let _ =
            writeln!(report, "\n{}{line}: {}", below(root, text(problem, "file")), text(problem, "reason"));
        if let Some(remedy) = problem["remedy"].as_str() {
            let _ = writeln!(report, "    {remedy}");
        }
    }
    for handler in handlers {
        if let Some(seconds) = handler["loading_seconds"].as_u64() {
            let file = below(root, text(handler, "file"));
            let _ = writeln!(report, "\n{file}: a version of it has been loading for {seconds} s");
        }
    }
    for problem in map_problems.unwrap_or_default() {
        let _ = writeln!(report, "\n{problem}");
    }
    let count = |wanted: &str| handlers.iter().filter(|handler| text(handler, "state") == wanted).count();
    let _ = write!(
        report,
        "\n{} ok, {} with a warning, {} failed",
        count("ok"),
        count("warning"),
        count("failed")
    );
    if let Some(problems) = map_problems {
        let aliases: usize = handlers.iter().map(|handler| list(handler, "aliases").count()).sum();
        let _ = write!(report, "; map file: {aliases} aliases, {} wrong lines", problems.len());
    }
    report.push('\n');
    report
}

/// The text of a member of an object.
fn text<'v>(object: &'v Value, name: &str) -> &'v str {
    object[name].as_str().unwrap_or_default()
}

fn list<'v>(object: &'v Value, name: &str) -> impl Iterator<Item = &'v str> {
    object[name].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn below<'p>(root: &Path, path: &'p str) -> std::borrow::Cow<'p, str> {
    let root = root.canonicalize();
    match root.iter().find_map(|root| Path::new(path).strip_prefix(root).ok()) {
        Some(path) => path.to_string_lossy(),
        None => path.into(),
    }
}

fn state(handler: &Value) -> String {
    let state = text(handler, "state");
    let from = if state != "failed" && handler["python2"] == true { ", from Python 2" } else { "" };
    format!("{state}{from}")
}
