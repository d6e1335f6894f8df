use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::writer::OwnFile;

/// Writes a record once it is told to, and tells of each.
struct Slow {
    go: Receiver<io::Result<()>>,
    told: Sender<Vec<u8>>,
}

impl Sink for Slow {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        self.told.send(record.to_vec()).unwrap();
        self.go.recv().unwrap_or(Ok(()))
    }
}

/// A queue that takes `limit` records of one byte, and the ends of its sink.
fn queue(limit: usize) -> (Queue, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
    dozing_queue(limit, DOZE)
}

fn dozing_queue(limit: usize, doze: Duration) -> (Queue, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
    let ((allow, go), (told, written)) = (channel(), channel());
    let note = |count: u64| format!("{count} lost").into_bytes();
    let (limit, sink) = (limit * (OVERHEAD + 1), Slow { go, told });
    let queue = Queue::start_dozing("test", limit, Target::Stderr, sink, note, doze).unwrap();
    (queue, allow, written)
}

fn put(queue: &Queue, text: &str) {
    queue.put(|| text.as_bytes().to_vec());
}

fn rest(written: &Receiver<Vec<u8>>) -> Vec<String> {
    written.iter().map(|record| String::from_utf8(record).unwrap()).collect()
}

#[test]
fn a_gap_is_one_record_in_its_place_and_the_order_stays() {
    let (queue, allow, written) = queue(4);
    put(&queue, "a");
    assert_eq!(written.recv().unwrap(), b"a");
    // It is being written. Four more wait; the others are dropped, also when there is room for one again.
    for text in ["b", "c", "d", "e", "f", "g"] {
        put(&queue, text);
    }
    allow.send(Ok(())).unwrap();
    assert_eq!(written.recv().unwrap(), b"b");
    put(&queue, "h");
    for expected in [b"c", b"d"] {
        allow.send(Ok(())).unwrap();
        assert_eq!(written.recv().unwrap(), expected);
    }
    put(&queue, "i");
    drop(allow);
    drop(queue);
    assert_eq!(rest(&written), ["e", "3 lost", "i"]);
}

#[test]
fn a_gap_at_the_end_and_records_that_failed_are_told_of() {
    let (queue, allow, written) = queue(1);
    put(&queue, "a");
    assert_eq!(written.recv().unwrap(), b"a");
    put(&queue, "b");
    put(&queue, "c");
    allow.send(Err(io::ErrorKind::Other.into())).unwrap();
    // The note fails, too.
    assert_eq!(written.recv().unwrap(), b"1 lost");
    allow.send(Err(io::ErrorKind::Other.into())).unwrap();
    drop(allow);
    drop(queue);
    assert_eq!(rest(&written), ["b", "2 lost"]);
}

#[test]
fn what_is_longer_than_the_limit_is_written_and_nothing_is_made_without_room() {
    let (queue, allow, written) = queue(1);
    put(&queue, "a");
    assert_eq!(written.recv().unwrap(), b"a");
    put(&queue, &"b".repeat(1000));
    queue.put(|| panic!("there is no room"));
    drop(allow);
    drop(queue);
    assert_eq!(rest(&written)[0].len(), 1000);
}

#[test]
fn a_flush_waits_for_what_was_put_in_but_not_for_a_write_that_stands_still() {
    let (queue, allow, written) = queue(4);
    put(&queue, "a");
    let far = Instant::now() + Duration::from_secs(3600);
    queue.shared.flush(far);
    assert_eq!(queue.shared.state.lock().done, 0);
    drop(allow);
    put(&queue, "b");
    queue.shared.flush(far);
    assert_eq!(queue.shared.state.lock().done, 2);
    drop(queue);
    assert_eq!(rest(&written), ["a", "b"]);
}

#[test]
fn a_thread_that_dozes_is_woken_by_who_waits_for_it() {
    let (queue, allow, written) = dozing_queue(1, Duration::from_secs(3600));
    drop(allow);
    put(&queue, "a");
    let far = Instant::now() + Duration::from_secs(60);
    queue.shared.flush(far);
    // Dozing, it lets these wait, and the second one has no room.
    for text in ["b", "c"] {
        put(&queue, text);
    }
    assert_eq!(queue.shared.state.lock().records.len(), 1);
    queue.shared.flush(far);
    assert_eq!(queue.shared.state.lock().done, 3);
    put(&queue, "d");
    drop(queue);
    assert_eq!(rest(&written), ["a", "b", "1 lost", "d"]);
}

/// A pipe that is full, and how many bytes it holds.
fn full_pipe() -> (io::PipeReader, Target, usize) {
    let (reader, writer) = io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
    let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
    let mut length = 0;
    while let Ok(count) = rustix::io::write(&file, &[b'-'; 4096]) {
        length += count;
    }
    // As stderr is: it waits.
    let file = File::from(std::os::fd::OwnedFd::from(writer));
    (reader, Target::File(Arc::new(OwnFile::new(file).unwrap())), length)
}

#[test]
fn who_writes_himself_waits_once_and_tells_of_what_was_dropped() {
    let (mut reader, target, length) = full_pipe();
    let note = |count: u64| format!("{count} lost\n").into_bytes();
    let begin = Instant::now();
    for _ in 0..1000 {
        direct::write(&target, b"x\n", &note);
    }
    assert!(begin.elapsed() < Duration::from_secs(60), "each has waited");
    let mut old = vec![0; length];
    reader.read_exact(&mut old).unwrap();
    direct::write(&target, b"y\n", &note);
    drop(target);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "1000 lost\ny\n");
}
