//! Micro-benchmarks of what every message goes through: `cargo bench --bench micro`.
//!
//! They guard against regressions; what a server with all of it costs is measured by `make bench`.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use divan::Bencher;
use divan::counter::BytesCount;
use pyo3::{Bound, Python};
use wshost::bridge::python::convert;
use wshost::bridge::python::detach::detached;
use wshost::websocket::deflate::{MessageDeflater, MessageInflater};
use wshost::websocket::frame::{FrameHeader, opcode, parse_header};
use wshost::websocket::mask::apply_mask;
use wshost::writer::{Queue, Sink, Target};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn main() {
    Python::initialize();
    divan::main();
}

fn header(payload_length: u64, mask: Option<[u8; 4]>) -> FrameHeader {
    FrameHeader {
        fin: true,
        rsv1: false,
        rsv2: false,
        rsv3: false,
        opcode: opcode::TEXT,
        mask,
        payload_length,
        minimal_length: true,
    }
}

#[divan::bench(args = [125, 4096, 1 << 20])]
fn parse_frame_header(bencher: Bencher, length: u64) {
    let bytes = header(length, Some(KEY)).encode().to_vec();
    bencher.bench(|| parse_header(black_box(&bytes)));
}

#[divan::bench(args = [125, 4096, 1 << 20])]
fn encode_frame_header(bencher: Bencher, length: u64) {
    let header = header(length, None);
    bencher.bench(|| black_box(&header).encode());
}

#[divan::bench(args = [125, 4096, 64 << 10, 1 << 20])]
fn unmask(bencher: Bencher, length: usize) {
    let mut data = vec![b'x'; length];
    bencher.counter(BytesCount::new(length)).bench_local(|| apply_mask(black_box(&mut data), KEY, 0));
}

/// Text of two sorts: bytes that are ASCII, and every third character of two bytes.
fn text(length: usize, ascii: bool) -> String {
    let characters = if ascii { "abc" } else { "abé" };
    characters.chars().cycle().take(length).collect()
}

/// What a text payload costs until it is a `str`: it is validated on the way.
fn decode(bencher: Bencher, text: &str) {
    let bencher = bencher.counter(BytesCount::of_str(text));
    Python::attach(|py| {
        bencher.bench_local(|| convert::text(py, black_box(text.as_bytes())).map(Bound::unbind));
    });
}

#[divan::bench(args = [125, 64 << 10])]
fn decode_ascii(bencher: Bencher, length: usize) {
    decode(bencher, &text(length, true));
}

#[divan::bench(args = [125, 64 << 10])]
fn decode_utf8(bencher: Bencher, length: usize) {
    decode(bencher, &text(length, false));
}

fn records() -> Vec<u8> {
    let record =
        |number: u32| format!("{{\"id\": {number}, \"name\": \"user{}\", \"active\": true}}, ", number % 97);
    let mut text: String = (0..100).map(record).collect();
    text.truncate(4096);
    text.into_bytes()
}

#[divan::bench(args = [false, true])]
fn deflate_4_kib(bencher: Bencher, no_context_takeover: bool) {
    let data = records();
    let mut deflater = MessageDeflater::new(15, no_context_takeover);
    bencher
        .counter(BytesCount::new(data.len()))
        .bench_local(|| deflater.filter(black_box(&data), true, false));
}

#[divan::bench]
fn inflate_4_kib(bencher: Bencher) {
    let data = records();
    let deflated = MessageDeflater::new(15, true).filter(&data, true, false).expect("memory");
    let mut inflater = MessageInflater::default();
    bencher
        .counter(BytesCount::new(data.len()))
        .bench_local(|| inflater.inflate(black_box(&deflated), 1 << 20));
}

#[divan::bench]
fn attach(bencher: Bencher) {
    bencher.bench_local(|| Python::attach(black_box(|_: Python<'_>| ())));
}

#[divan::bench]
fn detach_and_attach(bencher: Bencher) {
    Python::attach(|py| bencher.bench_local(|| detached(py, || black_box(1))));
}

/// What two threads pay that leave and enter Python all the time, as handlers do.
#[divan::bench(threads = 2)]
fn detach_and_attach_contended(bencher: Bencher) {
    bencher.bench(|| Python::attach(|py| detached(py, || black_box(1))));
}

/// A file without a name, for records.
struct Lines(File);

impl Sink for Lines {
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        self.0.write_all(record)
    }
}

fn queue() -> Queue {
    let file = tempfile::tempfile().expect("a file");
    Queue::start("bench-log", 4 << 20, Target::Stderr, Lines(file), |_| Vec::new()).expect("a thread")
}

/// What a record costs who logs it, where many come together.
#[divan::bench(sample_count = 100, sample_size = 100)]
fn records_in_a_burst(bencher: Bencher) {
    let queue = queue();
    bencher.bench_local(|| queue.put(|| vec![b'x'; 100]));
}

/// The same where one comes each 200 µs or so: the writer has nothing left to do by then.
#[divan::bench(sample_count = 5000, sample_size = 1)]
fn records_in_turn(bencher: Bencher) {
    let queue = queue();
    let pause = || thread::sleep(Duration::from_micros(200));
    bencher.with_inputs(pause).bench_local_values(|()| queue.put(|| vec![b'x'; 100]));
}
