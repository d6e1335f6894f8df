//! What a trace tells (docs/trace.md), read back. Must not import anything but `error`.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::error::{RecordingError, ReplayError};
use super::source::Source;
use crate::error::StartError;

/// The longest line that is taken, in bytes. Those of `--trace` are much shorter.
const MAX_LINE: u64 = 16 << 20;

/// How much a recording may keep in memory, in bytes.
const MAX_KEPT: usize = 1 << 30;

/// What each line takes of it beside its bytes.
const LINE_COST: usize = 256;

/// What a file of `--trace` holds.
#[derive(Debug, PartialEq)]
pub(super) struct Recording {
    /// In the order in which they were opened.
    pub(super) connections: Vec<RecordedConnection>,
    /// What happened on all of them, in the order of its times.
    pub(super) steps: Vec<Step>,
    /// The number of a last line that was not written to its end.
    pub(super) cut_off: Option<usize>,
    /// The numbers of the lines where records were dropped.
    pub(super) gaps: Vec<usize>,
}

/// A connection as it was recorded.
#[derive(Debug, PartialEq)]
pub(super) struct RecordedConnection {
    /// What was asked for, for people.
    pub(super) resource: String,
    /// All that the server sent.
    pub(super) sent: Vec<u8>,
    /// Whether that is all there was: neither the connection nor the recording was cut off.
    pub(super) is_whole: bool,
    /// Whether records of it were dropped, or may have been. There are no steps of it.
    pub(super) has_gap: bool,
    /// Whether its end is recorded.
    has_ended: bool,
    /// When it was opened.
    opened: OffsetDateTime,
}

/// Something that happened.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    /// Index of the connection.
    pub(super) connection: usize,
    /// When.
    pub(super) time: OffsetDateTime,
    /// What.
    pub(super) event: Event,
}

/// What can happen.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// The client has connected.
    Open,
    /// The client has sent these bytes.
    In(Vec<u8>),
    /// The server has sent so many of its bytes.
    Out(usize),
    /// The client has closed its side.
    Eof,
    /// The handler is done with it.
    End,
}

/// Reads the file `path`. One that is silent for longer than `patience`, a pipe, is given up.
pub(super) fn read(path: &Path, patience: std::time::Duration) -> Result<Recording, StartError> {
    // A pipe that nobody writes to is at its end then.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|source| StartError::File { option: "replay", path: path.to_owned(), source })?;
    parse(BufReader::new(Source::new(file, patience)))
        .map_err(|problem| ReplayError::Recording { file: path.to_owned(), problem }.end())
}

fn parse(mut file: impl BufRead) -> Result<Recording, RecordingError> {
    let mut reader = Reader::default();
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let count = (&mut file).take(MAX_LINE).read_until(b'\n', &mut line);
        let count = count.map_err(RecordingError::Read)?;
        if count == 0 {
            break;
        }
        number += 1;
        if count as u64 == MAX_LINE && !line.ends_with(b"\n") {
            return Err(RecordingError::LongLine { line: number, most: MAX_LINE });
        }
        let record = serde_json::from_slice(&line).unwrap_or(Value::Null);
        // What a server that was killed has left behind.
        if record.is_null() && !line.ends_with(b"\n") {
            reader.recording.cut_off = Some(number);
            break;
        }
        if record["event"] == "dropped" {
            reader.skip(number);
            continue;
        }
        reader.take(&record).map_err(|problem| RecordingError::Line { line: number, problem })?;
        if reader.kept > MAX_KEPT {
            return Err(RecordingError::TooLarge { line: number, most: MAX_KEPT });
        }
    }
    if reader.recording.connections.is_empty() {
        return Err(RecordingError::Empty);
    }
    let Recording { connections, steps, .. } = &mut reader.recording;
    steps.retain(|step| !connections[step.connection].has_gap);
    // An answer may be written down before what it answers to, by another thread: times keep the order.
    reader.recording.steps.sort_by_key(|step| step.time);
    Ok(reader.recording)
}

/// A recording that is being read.
struct Reader {
    recording: Recording,
    /// Index by number. A file that was appended to has the same numbers several times: the last one opened counts.
    open: HashMap<u64, usize>,
    /// How much is kept, in bytes.
    kept: usize,
}

impl Default for Reader {
    fn default() -> Self {
        let (connections, steps, gaps) = (Vec::new(), Vec::new(), Vec::new());
        let recording = Recording { connections, steps, cut_off: None, gaps };
        Self { recording, open: HashMap::new(), kept: 0 }
    }
}

impl Reader {
    /// Records were dropped at line `number`: of any connection that is open, and the beginnings of others.
    fn skip(&mut self, number: usize) {
        self.recording.gaps.push(number);
        for &index in self.open.values() {
            let connection = &mut self.recording.connections[index];
            connection.has_gap |= !connection.has_ended;
        }
    }

    fn take(&mut self, record: &Value) -> Result<(), &'static str> {
        if !record.is_object() {
            return Err("not a whole JSON object");
        }
        self.kept += LINE_COST;
        let number = record["connection"].as_u64().ok_or("no number under \"connection\"")?;
        let event = record["event"].as_str().ok_or("no text under \"event\"")?;
        if event == "open" {
            return self.open(number, record);
        }
        let has_gap = !self.recording.gaps.is_empty();
        let Some(&connection) = self.open.get(&number) else {
            // It was opened in the gap.
            return if has_gap { Ok(()) } else { Err("a connection that was not opened before") };
        };
        let recorded = &mut self.recording.connections[connection];
        if has_gap && recorded.has_ended {
            // One of an earlier run: that of this run was opened in the gap.
            return Ok(());
        }
        let at = record["at"].as_f64().filter(|at| (0.0..1e9).contains(at)).ok_or("no time under \"at\"")?;
        let event = match event {
            "in" => {
                let bytes = bytes(record)?;
                self.kept += bytes.len();
                Event::In(bytes)
            }
            "out" => {
                let bytes = bytes(record)?;
                self.kept += bytes.len();
                recorded.sent.extend_from_slice(&bytes);
                Event::Out(bytes.len())
            }
            "eof" => Event::Eof,
            "end" => {
                let by = record["by"].as_str().ok_or("no text under \"by\"")?;
                recorded.is_whole = matches!(by, "client" | "server");
                recorded.has_ended = true;
                Event::End
            }
            _ => return Err("an \"event\" that is none of open, in, out, eof and end"),
        };
        let at = Duration::checked_seconds_f64(at);
        let time = at.and_then(|at| recorded.opened.checked_add(at));
        let time = time.ok_or("a time that is later than the year 9999")?;
        self.recording.steps.push(Step { connection, time, event });
        Ok(())
    }

    fn open(&mut self, number: u64, record: &Value) -> Result<(), &'static str> {
        let time = record["time"].as_str().and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        let opened = time.ok_or("no time under \"time\"")?;
        let resource = record["resource"].as_str().ok_or("no text under \"resource\"")?;
        self.kept += resource.len();
        let connection = self.recording.connections.len();
        self.open.insert(number, connection);
        self.recording.connections.push(RecordedConnection {
            resource: resource.to_owned(),
            sent: Vec::new(),
            is_whole: false,
            has_gap: false,
            has_ended: false,
            opened,
        });
        self.recording.steps.push(Step { connection, time: opened, event: Event::Open });
        Ok(())
    }
}

/// The bytes of a record.
fn bytes(record: &Value) -> Result<Vec<u8>, &'static str> {
    match (record["text"].as_str(), record["base64"].as_str()) {
        (Some(text), None) => Ok(text.as_bytes().to_vec()),
        (None, Some(text)) => BASE64_STANDARD.decode(text).map_err(|_| "bad base64"),
        _ => Err("neither \"text\" nor \"base64\""),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const OPEN: &str =
        r#"{"connection":1,"event":"open","resource":"/a","time":"2026-01-02T03:04:05.5Z","tls":false}"#;

    #[test]
    fn connections_keep_apart_also_in_a_file_that_was_appended_to() {
        let text = [
            OPEN,
            r#"{"connection":2,"event":"open","resource":"/b","time":"2026-01-02T03:04:06Z"}"#,
            r#"{"connection":1,"event":"in","at":0.8,"text":"x"}"#,
            r#"{"connection":2,"event":"out","at":0.25,"base64":"AP8="}"#,
            r#"{"connection":1,"event":"eof","at":1}"#,
            r#"{"connection":1,"event":"end","at":1,"by":"client"}"#,
            r#"{"connection":2,"event":"end","at":1,"by":"Connection reset by peer"}"#,
            OPEN,
            r#"{"connection":1,"event":"out","at":2,"text":"y"}"#,
        ];
        let recording = parse(text.join("\n").as_bytes()).expect("a trace");
        let connections: Vec<_> = recording
            .connections
            .iter()
            .map(|connection| (connection.resource.as_str(), &connection.sent[..], connection.is_whole))
            .collect();
        assert_eq!(connections, [("/a", &b""[..], true), ("/b", b"\x00\xff", false), ("/a", b"y", false)]);
        let start = recording.connections[0].opened;
        let steps: Vec<_> = recording
            .steps
            .iter()
            .map(|step| (step.connection, (step.time - start).whole_milliseconds(), &step.event))
            .collect();
        let expected = [
            (0, 0, &Event::Open),
            (2, 0, &Event::Open),
            (1, 500, &Event::Open),
            (1, 750, &Event::Out(2)),
            (0, 800, &Event::In(b"x".to_vec())),
            (0, 1000, &Event::Eof),
            (0, 1000, &Event::End),
            (1, 1500, &Event::End),
            (2, 2000, &Event::Out(1)),
        ];
        assert_eq!(steps, expected);
        assert_eq!(recording.cut_off, None);
    }

    #[test]
    fn what_is_no_trace_says_where() {
        for (line, problem) in [
            ("", "not a whole JSON object"),
            ("[1]", "not a whole JSON object"),
            (r#"{"connection":1,"event":"in","at":0.1,"te"#, "not a whole JSON object"),
            (r#"{"event":"in"}"#, "\"connection\""),
            (r#"{"connection":1}"#, "\"event\""),
            (r#"{"connection":2,"event":"open","resource":"/"}"#, "\"time\""),
            (r#"{"connection":2,"event":"open","time":"2026-01-02T03:04:05Z"}"#, "\"resource\""),
            (r#"{"connection":1,"event":"in","text":"x"}"#, "\"at\""),
            (r#"{"connection":1,"event":"in","at":-1,"text":"x"}"#, "\"at\""),
            (r#"{"connection":1,"event":"in","at":1}"#, "neither"),
            (r#"{"connection":1,"event":"in","at":1,"base64":"?"}"#, "base64"),
            (r#"{"connection":1,"event":"end","at":1}"#, "\"by\""),
            (r#"{"connection":1,"event":"sent","at":1}"#, "none of"),
            (r#"{"connection":3,"event":"in","at":1,"text":"x"}"#, "not opened"),
            (r#"{"connection":1,"event":"in","at":1e9,"text":"x"}"#, "\"at\""),
            (r#"{"connection":1,"event":"in","at":1e400,"text":"x"}"#, "not a whole JSON object"),
            (r#"{"connection":1,"event":"in","at":1,"text":"\ud800"}"#, "not a whole JSON object"),
            (r#"{"connection":-1,"event":"in","at":1,"text":"x"}"#, "\"connection\""),
        ] {
            let error = parse(format!("{OPEN}\n{line}\n").as_bytes()).expect_err(line).to_string();
            assert!(error.starts_with("line 2: ") && error.contains(problem), "{line}: {error}");
        }
        assert!(parse(&b""[..]).expect_err("nothing").to_string().contains("no connection"));
    }

    #[test]
    fn times_end_with_the_year_9999() {
        let open = OPEN.replace("2026-01-02T03:04:05.5Z", "9999-12-31T23:59:59Z");
        let end = |at: &str| format!("{open}\n{{\"connection\":1,\"event\":\"eof\",\"at\":{at}}}\n");
        assert_eq!(parse(end("0.5").as_bytes()).expect("the last second").steps.len(), 2);
        for at in ["1", "999999999"] {
            let error = parse(end(at).as_bytes()).expect_err(at).to_string();
            assert!(error.starts_with("line 2: ") && error.contains("the year 9999"), "{error}");
        }
    }

    #[test]
    fn lines_and_recordings_have_an_end() {
        let endless = BufReader::new(io::repeat(b'x'));
        assert!(parse(endless).expect_err("no line").to_string().starts_with("line 1 is longer than"));
        let endless = OPEN.as_bytes().chain(BufReader::new(io::repeat(b' ')));
        assert!(parse(endless).expect_err("no line").to_string().starts_with("line 1 is longer than"));
        let deep = format!("{OPEN}\n{}\n", "[".repeat(1 << 20));
        assert!(
            parse(deep.as_bytes()).expect_err("no object").to_string().starts_with("line 2: not a whole")
        );
    }

    #[test]
    fn connections_with_a_gap_are_left_out() {
        let open = |number: u32, resource: &str| {
            OPEN.replace("\"connection\":1", &format!("\"connection\":{number}")).replace("/a", resource)
        };
        let text = [
            &open(1, "/a"),
            &open(2, "/b"),
            r#"{"connection":1,"event":"end","at":1,"by":"client"}"#,
            r#"{"event":"dropped","records":7}"#,
            r#"{"connection":2,"event":"in","at":0.8,"text":"x"}"#,
            // Opened in the gap; the second after a new start.
            r#"{"connection":3,"event":"in","at":0.8,"text":"x"}"#,
            r#"{"connection":1,"event":"in","at":0.8,"text":"x"}"#,
            &open(4, "/d"),
            r#"{"connection":4,"event":"in","at":1,"text":"y"}"#,
        ];
        let recording = parse(text.join("\n").as_bytes()).expect("a trace");
        let gaps: Vec<_> = recording.connections.iter().map(|connection| connection.has_gap).collect();
        assert_eq!((gaps, &recording.gaps[..]), (vec![false, true, false], &[4][..]));
        let steps: Vec<_> = recording.steps.iter().map(|step| (step.connection, &step.event)).collect();
        let y = Event::In(b"y".to_vec());
        assert_eq!(steps, [(0, &Event::Open), (2, &Event::Open), (0, &Event::End), (2, &y)]);
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_left_out() {
        let recording = parse(format!("{OPEN}\n{}", &OPEN[..20]).as_bytes()).expect("a trace");
        assert_eq!((recording.connections.len(), recording.cut_off), (1, Some(2)));
        assert!(parse(&OPEN.as_bytes()[..20]).expect_err("nothing").to_string().contains("no connection"));
    }
}
