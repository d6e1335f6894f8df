use std::io::{IoSlice, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Instant;

use bytes::Bytes;

use super::super::READ_AHEAD;
use super::*;
use crate::handover::Transport;
use crate::websocket::reader::FrameReader;
use crate::wire::limits::Limits;

/// How long a test waits for what must happen.
const BOUND: Duration = Duration::from_secs(30);

/// A masked text frame with nothing in it.
const FRAME: [u8; 6] = [0x81, 0x80, 0, 0, 0, 0];

/// A connection: our end, and the client's.
fn connect(unread: &'static [u8]) -> (Arc<Socket>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(BOUND)).unwrap();
    let (server, peer) = listener.accept().unwrap();
    let duplex = Duplex::from(Transport::Tcp(server));
    (
        Arc::new(Socket::new(
            duplex,
            &Bytes::from_static(unread),
            peer,
            None,
            Arc::clone(Limits::for_others()),
        )),
        client,
    )
}

fn received(mut client: &TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_frame_counts_once_it_is_here_as_a_whole() {
    for (unread, expected) in
        [(&FRAME[..], true), (&FRAME[..5], false), (&[0x81, 0x81, 0, 0, 0, 0], false), (&[], false)]
    {
        assert_eq!(connect(unread).0.has_next_frame(), expected, "{unread:?}");
    }
}

#[test]
fn what_is_kept_back_goes_out_in_one_segment_with_the_last() {
    let segments = || {
        let (socket, client) = connect(b"");
        let stream = socket.open().unwrap();
        for (byte, more) in [(b"1", true), (b"2", true), (b"3", false)] {
            assert_eq!(stream.write_now(&[IoSlice::new(byte)], more).unwrap(), 1);
        }
        assert_eq!(received(&client, 3), b"123");
        tcp_info(&socket).tcpi_data_segs_out
    };
    // The system waits 200 ms at most, and a busy machine may be slower.
    assert!((0..5).any(|_| segments() == 1));
}

#[test]
fn what_nobody_sends_the_thread_sends() {
    let (socket, client) = connect(&FRAME);
    assert!(socket.write_now(b"ab", b"c", true).unwrap().is_none());
    assert_eq!(received(&client, 3), b"abc");
    let start = Instant::now();
    while socket.corked.load(Ordering::Acquire) {
        assert!(start.elapsed() < BOUND, "nobody looks after it");
        thread::yield_now();
    }
}

#[test]
fn what_is_written_as_the_last_needs_nobody() {
    let (socket, client) = connect(&FRAME);
    // As if it had been written; the thread does not know of it.
    socket.corked.store(true, Ordering::Release);
    assert!(socket.write_now(b"a", b"", false).unwrap().is_none());
    assert!(!socket.corked.load(Ordering::Acquire));
    socket.corked.store(true, Ordering::Release);
    socket.write(b"b", b"").unwrap();
    assert!(!socket.corked.load(Ordering::Acquire));
    assert_eq!(received(&client, 2), b"ab");
}

#[test]
fn nothing_is_kept_back_while_the_peer_is_waited_for() {
    type Wait = fn(&Socket);
    let waits: [Wait; 3] = [
        |socket| drop(socket.begin_frame(FrameReader { masked: true, limit: 0 }, &mut [0; READ_AHEAD])),
        |socket| drop(socket.read_some(1)),
        |socket| drop(socket.read_exactly(1)),
    ];
    for wait in waits {
        let (socket, mut client) = connect(b"");
        client.write_all(&FRAME).unwrap();
        socket.corked.store(true, Ordering::Release);
        socket.open().unwrap().write_now(&[IoSlice::new(b"a")], true).unwrap();
        wait(&socket);
        assert!(!socket.corked.load(Ordering::Acquire));
        assert_eq!(tcp_info(&socket).tcpi_notsent_bytes, 0);
    }
}

/// What the system knows of our end.
fn tcp_info(socket: &Socket) -> libc::tcp_info {
    let stream = socket.open().unwrap();
    let Duplex::Tcp(stream) = &*stream else { panic!("TCP was asked for") };
    // SAFETY: all of its fields are numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of_val(&info)).unwrap();
    // SAFETY: the system writes at most `length` bytes, which `info` has.
    let result = unsafe {
        let info = (&raw mut info).cast();
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info, &raw mut length)
    };
    assert_eq!(result, 0);
    info
}
