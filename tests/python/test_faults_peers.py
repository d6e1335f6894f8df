"""Peers that vanish, reset, never read or never speak: each costs its own connection, and nothing stays."""

import contextlib
import fcntl
import re
import resource
import socket
import struct
import termios
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Union

import pytest
from serving import (
    ECHO,
    SECONDS,
    RawClient,
    Server,
    Start,
    client_frame,
    close_body,
    handler,
    talk,
    wait_until,
    write,
)

SILENT = 10_000
"""So many connections that say nothing."""

GIGABYTE = 1 << 30


def vanish(client: Union[RawClient, socket.socket], reset: bool) -> None:
    """Closes the connection: with FIN, or with RST at once."""
    if reset:
        plain = client.socket if isinstance(client, RawClient) else client
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@contextlib.contextmanager
def unharmed(server: Server) -> Iterator[None]:
    """Checks that what happens inside leaves nothing behind, and a server that goes on and stops."""
    assert server.ask("/echo", "before") == "before"
    wait_until(lambda: not server.handler_threads(), "the end of the first handler")
    threads, descriptors = len(server.threads()), len(server.descriptors())
    yield
    wait_until(lambda: not server.handler_threads(), "the end of the handlers")
    wait_until(lambda: len(server.descriptors()) <= descriptors, "the end of the descriptors")
    # The pool that reads files may have grown by a few.
    wait_until(lambda: len(server.threads()) <= threads + 4, "the end of the threads")
    assert server.ask("/echo", "after") == "after"
    assert server.stop() == 0
    log = server.log.rest()
    assert "panicked" not in log
    # As in the reference, a handler that does not catch them is told to have raised them.
    raised = set(re.findall(r"^  (?:[\w.]+\.)?(\w+): ", log, re.M))
    assert raised <= {"BrokenPipeError", "ConnectionResetError", "ConnectionTerminatedException"}


class HandshakeOnly(RawClient):
    """Keeps what it would send."""

    def __init__(self) -> None:
        self.socket = self  # type: ignore[assignment]
        self.sent = b""

    def sendall(self, data: bytes) -> None:
        self.sent += data


def handshake_bytes() -> bytes:
    client = HandshakeOnly()
    client.handshake("/echo")
    return client.sent


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_gone_at_every_byte_of_the_handshake(start: Start, tmp_path: Path, reset: bool) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--log-level", "info")
    whole = handshake_bytes()
    with unharmed(server):
        for length in range(len(whole) + 1):
            client = socket.create_connection((server.host, server.port), SECONDS)
            client.sendall(whole[:length])
            vanish(client, reset)


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_gone_at_every_byte_of_a_frame(start: Start, tmp_path: Path, reset: bool) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--log-level", "info")
    frames = [
        client_frame(1, b"hello"),
        client_frame(1, b"he", fin=False) + client_frame(9, b"ping") + client_frame(0, b"llo"),
        client_frame(2, b"x" * 200)[:12],
        client_frame(2, b"x" * 70000)[:16],
    ]
    with unharmed(server):
        for frame in frames:
            for length in range(len(frame) + 1):
                client = server.raw("/echo")
                client.socket.sendall(frame[:length])
                vanish(client, reset)


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_gone_at_every_byte_of_the_closing_handshake(
    start: Start, tmp_path: Path, reset: bool, side: str
) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "closes_wsh.py", handler("request.ws_stream.close_connection(3000, 'bye')"))
    server = start("--log-level", "info")
    frame = client_frame(8, close_body(3000, "bye"))
    with unharmed(server):
        for length in range(len(frame) + 1):
            client = server.raw("/echo" if side == "client" else "/closes")
            if side == "server":
                assert client.frame().opcode == 8
            client.socket.sendall(frame[:length])
            vanish(client, reset)


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_gone_while_the_handler_sends(start: Start, tmp_path: Path, reset: bool) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(
        tmp_path,
        "sends_wsh.py",
        handler(
            """
            try:
                while True:
                    request.ws_stream.send_message(b"x" * 100000, binary=True)
            except OSError as error:
                print("send failed", type(error).__name__, flush=True)
            """
        ),
    )
    server = start("--log-level", "info")
    with unharmed(server):
        for number in range(1, 11):
            client = server.raw("/sends")
            client.exactly(1000)
            vanish(client, reset)
            server.output.wait_for(rf"(send failed \w+\n){{{number}}}")
    assert set(server.output.rest().split("\n")) <= {
        "",
        "send failed BrokenPipeError",
        "send failed ConnectionResetError",
    }


def never_reading(size: int) -> str:
    return handler(
        f"""
        print("sending", flush=True)
        piece = b"x" * (1 << 20)
        try:
            for _ in range({size} >> 20):
                request.ws_stream.send_message(piece, end=False, binary=True)
            print("sent", flush=True)
        except OSError as error:
            print("not sent", flush=True)
        """
    )


def test_a_peer_that_never_reads_costs_no_memory_and_does_not_hold_up_the_end(
    start: Start, tmp_path: Path, way: str
) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "sends_wsh.py", never_reading(GIGABYTE))
    server = start("--grace", "0.2", way=way)
    assert server.ask("/echo", "before") == "before"
    before = server.memory()
    clients = [server.raw("/sends") for _ in range(4)]
    # Two threads may print before either ends its line.
    server.output.wait_for(r"(sending\s*){4}")
    # The socket's buffers are full once the kernel takes no more: the handlers' queues stop growing.
    sizes = [-1, -2]

    def is_stuck() -> bool:
        sizes.append(sum(pending(client) for client in clients))
        return sizes[-1] > 0 and len(set(sizes[-20:])) == 1

    wait_until(is_stuck, "full buffers")
    assert server.ask("/echo", "between") == "between"
    assert server.memory() - before < 64 << 20
    assert "sent" not in server.output.text.split()
    assert server.stop() == 0
    for client in clients:
        client.close()


def pending(client: RawClient) -> int:
    """How many bytes wait to be read."""
    size = fcntl.ioctl(client.socket, termios.FIONREAD, struct.pack("i", 0))
    (count,) = struct.unpack("i", size)
    return int(count)


def test_a_peer_that_reads_late_gets_everything(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "sends_wsh.py", never_reading(64 << 20))
    server = start()
    with server.raw("/sends") as client:
        server.output.wait_for("sending")
        for number in range(64):
            frame = client.frame()
            assert (frame.opcode, frame.fin, len(frame.payload)) == (2 if number == 0 else 0, False, 1 << 20)
        server.output.wait_for("^sent")


def test_silent_connections_by_the_thousand(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(SILENT, hard - 500)
    if count < SILENT:
        warnings.warn(f"{count} connections instead of {SILENT}: RLIMIT_NOFILE is {hard}", stacklevel=1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    silent: list[socket.socket] = []
    try:
        server = start("--log-level", "info", "--queue", "1024")
        before, threads = server.memory(), len(server.threads())
        for _ in range(count):
            silent.append(socket.create_connection((server.host, server.port), SECONDS))
        began = time.monotonic()
        assert server.ask("/echo", "between") == "between"
        took = time.monotonic() - began
        used = server.memory() - before
        print(f"{count} silent connections: {used / count:.0f} bytes each, an answer in {took:.3f} s")
        assert used / count < 32 << 10
        wait_until(lambda: not server.handler_threads(), "the end of the handler")
        wait_until(lambda: len(server.threads()) <= threads + 4, "the end of the threads")
        assert server.stop() == 0
    finally:
        for client in silent:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def one_byte_each(server: Server, resource_name: str) -> Callable[[], None]:
    """A client that sends a message one byte after another."""
    client = server.raw(resource_name)

    def talk() -> None:
        with client:
            for byte in client_frame(1, b"slowly"):
                client.socket.sendall(bytes([byte]))
            assert client.frame().payload == b"slowly"

    return talk


def test_frames_byte_by_byte(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start()
    with unharmed(server):
        one_byte_each(server, "/echo")()


DEFLATED = zlib.compressobj(wbits=-15)
COMPRESSED = DEFLATED.compress(b"x" * 100_000) + DEFLATED.flush(zlib.Z_SYNC_FLUSH)[:-4]

READS = {
    "receive_message": "stream.receive_message()",
    "receive_bytes": "stream.receive_bytes(70_000)",
    "read": "request.connection.read(1); request.connection.read(70_000)",
    "readline": "request.connection.readline()",
    "close": "stream.close_connection()",
}

HALVES = {
    "nothing": b"",
    "a byte": b"\x82",
    "a short length": b"\x82\xfe\x10",
    "a long length": b"\x82\xff\0\0\0\0",
    "a mask": client_frame(2, b"x" * 10)[:4],
    "a short payload": client_frame(2, b"x" * 100)[:50],
    "a long payload": client_frame(2, b"x" * 70_000)[:60_000],
    "a text": client_frame(1, b"x" * 70_000)[:60_000],
    "a fragment": client_frame(1, b"x" * 70_000, fin=False),
    "a compressed payload": client_frame(2, COMPRESSED, rsv1=True)[:-3],
    "a compressed fragment": client_frame(2, COMPRESSED, fin=False, rsv1=True),
    "a close frame": client_frame(8, close_body(1000, "bye"))[:8],
}


@pytest.mark.parametrize("read", READS)
def test_a_peer_that_stops_in_the_middle_holds_up_nobody(start: Start, tmp_path: Path, read: str) -> None:
    """A thread that waited for it with Python would let others in only now and then, if at all."""
    write(tmp_path, "echo_wsh.py", ECHO)
    source = handler(
        f"""
        stream = request.ws_stream
        stream.send_message("reading")
        {READS[read]}
        """
    )
    write(tmp_path, "reads_wsh.py", source)
    server = start()
    with contextlib.ExitStack() as stack, talk(server.address, "/echo") as other:
        for half in HALVES.values():
            client = stack.enter_context(RawClient(server.host, server.port))
            client.handshake("/reads", "Sec-WebSocket-Extensions: permessage-deflate")
            assert client.response()[0] == 101
            client.frame()
            client.socket.sendall(half)
            for number in range(50):
                other.send(str(number))
                assert other.recv(SECONDS) == str(number)
