//! What the log looks like, and that nothing is lost. The log is one per process, so most tests run in one of
//! their own.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use time::OffsetDateTime;
use time::macros::offset;

use super::*;
use crate::config::LogFormat;

#[test]
fn a_log_file_that_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let config =
        LogConfig { level: LogLevel::Info, file: Some(directory.path().to_owned()), ..LogConfig::default() };
    let error = init(&config).unwrap_err().to_string();
    assert!(error.starts_with(&format!("--log-file {}: ", directory.path().display())), "{error}");
}

/// Runs `scenario` of [`child`] in a process of its own, because the log is one per process, and gives
/// what it wrote to stderr.
fn run(scenario: &str, file: Option<&Path>, time_zone: &str) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "logging::tests::child", "--ignored", "--nocapture"]);
    command.env("WSHOST_TEST_SCENARIO", scenario).env("TZ", time_zone);
    if let Some(file) = file {
        command.env("WSHOST_TEST_FILE", file);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn child() {
    let file = env::var_os("WSHOST_TEST_FILE").map(Into::into);
    let at = |level| LogConfig { level, file: Option::clone(&file), ..LogConfig::default() };
    match env::var("WSHOST_TEST_SCENARIO").unwrap().as_str() {
        "no init" => every_level(),
        "fine" => {
            init(&at(LogLevel::Fine)).unwrap();
            every_level();
        }
        "levels" => {
            for level in [LogLevel::Info, LogLevel::Critical, LogLevel::Fine, LogLevel::Error] {
                init(&at(level)).unwrap();
                every_level();
                emit(LogLevel::Critical, "-", "-");
            }
        }
        "events" => {
            init(&at(LogLevel::Info)).unwrap();
            tracing::info!("plain {}", 1);
            tracing::warn!(target: "a::b", port = 9998, name = "x", "with fields");
            tracing::error!(logger = "run.time", "named");
            emit(LogLevel::Error, "py", "Traceback:\n  File \"a_wsh.py\"\n");
        }
        "threads" => {
            init(&at(LogLevel::Info)).unwrap();
            thread::scope(|scope| {
                for thread in 0..8 {
                    scope.spawn(move || {
                        for _ in 0..200 {
                            emit(LogLevel::Info, "t", &format!("{thread}\n{thread}"));
                        }
                    });
                }
            });
        }
        "rotation" => {
            let config = LogConfig { max_size: 4096, backups: 1000, ..at(LogLevel::Info) };
            init(&config).unwrap();
            thread::scope(|scope| {
                for thread in 0..20 {
                    scope.spawn(move || {
                        for number in 0..100 {
                            emit(LogLevel::Info, "t", &format!("{thread} {number}"));
                        }
                    });
                }
            });
        }
        "json" => {
            init(&LogConfig { format: LogFormat::Json, ..at(LogLevel::Info) }).unwrap();
            tracing::warn!(target: "a::b", port = 9998, name = "x", up = true, "with fields");
            emit(LogLevel::Error, "py", "Traceback:\n  File \"a_wsh.py\"\n");
        }
        "kept" => {
            keep(LogLevel::Warning);
            keep(LogLevel::Info);
            every_level();
            tracing::warn!(target: "a::b", port = 9998, "two\nlines\r");
            let taken: Vec<_> = std::iter::from_fn(take)
                .map(|record| (record.level, record.logger, record.message))
                .collect();
            let record = |level, logger: &str, text: &str| (level, logger.to_owned(), text.to_owned());
            assert_eq!(taken.len(), 8);
            assert_eq!(taken[0], record(LogLevel::Info, "wshost.logging.tests", "event"));
            assert_eq!(taken[6], record(LogLevel::Critical, "py", "emit"));
            assert_eq!(taken[7], record(LogLevel::Warning, "a.b", "two\n  lines\\r port=9998"));
            init(&at(LogLevel::Error)).unwrap();
            keep(LogLevel::Fine);
            every_level();
            assert_eq!(take(), None);
        }
        other => panic!("no scenario {other}"),
    }
    flush(FLUSH_TIME);
}

/// The next record that was kept.
fn take() -> Option<KeptRecord> {
    let record = next_kept(Duration::ZERO);
    if record.is_some() {
        given();
    }
    record
}

fn every_level() {
    tracing::trace!("event");
    tracing::debug!("event");
    tracing::info!("event");
    tracing::warn!("event");
    tracing::error!("event");
    emit(LogLevel::Fine, "py", "emit");
    emit(LogLevel::Debug, "py", "emit");
    emit(LogLevel::Info, "py", "emit");
    emit(LogLevel::Warning, "py", "emit");
    emit(LogLevel::Error, "py", "emit");
    emit(LogLevel::Critical, "py", "emit");
}

/// Lines without the time.
fn untimed(log: &str) -> Vec<&str> {
    log.lines().map(|line| line.split_once("] ").map_or(line, |(_, rest)| rest)).collect()
}

#[test]
fn writes_to_stderr_without_init_what_python_would() {
    let log = run("no init", None, "UTC");
    assert_eq!(untimed(&log), ["[WARNING] py: emit", "[ERROR] py: emit", "[CRITICAL] py: emit"]);
}

#[test]
fn writes_every_level_to_stderr_in_local_time() {
    let before = OffsetDateTime::now_utc();
    let log = run("fine", None, "XXX-14");
    let target = "wshost.logging.tests";
    assert_eq!(
        untimed(&log),
        [
            format!("[FINE] {target}: event"),
            format!("[DEBUG] {target}: event"),
            format!("[INFO] {target}: event"),
            format!("[WARNING] {target}: event"),
            format!("[ERROR] {target}: event"),
            "[FINE] py: emit".to_owned(),
            "[DEBUG] py: emit".to_owned(),
            "[INFO] py: emit".to_owned(),
            "[WARNING] py: emit".to_owned(),
            "[ERROR] py: emit".to_owned(),
            "[CRITICAL] py: emit".to_owned(),
        ]
    );
    let hour = |time: OffsetDateTime| {
        let time = time.to_offset(offset!(+14));
        format!("[{} {:02}", time.date(), time.hour())
    };
    let hours = [hour(before), hour(OffsetDateTime::now_utc())];
    assert!(hours.contains(&log[..14].to_owned()), "{hours:?}: {log}");
}

#[test]
fn the_last_init_decides_the_level() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ws.log");
    std::fs::write(&file, "[old] before\n").unwrap();
    assert_eq!(run("levels", Some(&file), "UTC"), "");
    let log = std::fs::read_to_string(&file).unwrap();
    let records = untimed(&log);
    assert_eq!(records[0], "before");
    let counts: Vec<usize> = records[1..].split(|line| *line == "[CRITICAL] -: -").map(<[_]>::len).collect();
    assert_eq!(counts, [7, 1, 11, 3, 0]);
}

#[test]
fn events_show_their_logger_message_and_fields() {
    let log = run("events", None, "UTC");
    assert_eq!(
        untimed(&log),
        [
            "[INFO] wshost.logging.tests: plain 1",
            "[WARNING] a.b: with fields port=9998 name=\"x\"",
            "[ERROR] run.time: named",
            "[ERROR] py: Traceback:",
            "    File \"a_wsh.py\"",
        ]
    );
}

#[test]
fn records_of_several_lines_stay_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ws.log");
    run("threads", Some(&file), "UTC");
    let log = std::fs::read_to_string(&file).unwrap();
    let lines = untimed(&log);
    assert_eq!(lines.len(), 8 * 200 * 2);
    for record in lines.chunks(2) {
        assert_eq!(record[0], format!("[INFO] t: {}", record[1].trim_start()));
    }
}

#[test]
fn enabled_counts_from_the_threshold_up() {
    assert!(enabled(LogLevel::Critical) && enabled(LogLevel::Warning));
    assert!(!enabled(LogLevel::Info) && !enabled(LogLevel::Fine));
}

#[test]
fn nothing_is_lost_while_the_log_is_rotated() {
    let directory = tempfile::tempdir().unwrap();
    run("rotation", Some(&directory.path().join("ws.log")), "UTC");
    let mut files = 0;
    let mut records = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.len() < 4096 && text.ends_with('\n'));
        records.extend(untimed(&text).into_iter().map(str::to_owned));
        files += 1;
    }
    let expected: BTreeSet<String> = (0..20)
        .flat_map(|thread| (0..100).map(move |number| format!("[INFO] t: {thread} {number}")))
        .collect();
    assert_eq!((records.len(), records.into_iter().collect::<BTreeSet<_>>()), (2000, expected));
    assert!(files > 10, "{files} files");
}

#[test]
fn json_has_the_fields_with_their_types() {
    let log = run("json", None, "UTC");
    let objects: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["fields"], serde_json::json!({"port": 9998, "name": "x", "up": true}));
    assert_eq!((&objects[0]["level"], &objects[0]["logger"]), (&"WARNING".into(), &"a.b".into()));
    assert_eq!(objects[1]["message"], "Traceback:\n  File \"a_wsh.py\"");
}

#[test]
fn records_are_kept_for_a_program_that_has_a_log_until_ours_is_opened() {
    let log = run("kept", None, "UTC");
    assert_eq!(
        untimed(&log),
        ["[ERROR] wshost.logging.tests: event", "[ERROR] py: emit", "[CRITICAL] py: emit"]
    );
}
