"""Several threads of a handler on one connection, over `ws://` and `wss://`.

`$CONCURRENCY_SECONDS` sets how long the stress test runs; a few seconds unless it says otherwise.
"""

import os
import shutil
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from serving import ECHO, SECONDS, RawClient, Server, Start, close_body, handler, wait_until, write

STRESS = float(os.environ.get("CONCURRENCY_SECONDS", "2"))
THREADS = 8


@pytest.fixture(params=["ws", "wss"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Without TLS, and with it."""
    if request.param == "wss" and shutil.which("openssl") is None:
        pytest.skip("makes certificates with openssl")
    return str(request.param)


class TlsClient(RawClient):
    """The same past a TLS handshake. Whose certificate it is does not matter here."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._file.close()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)
        self._file = self.socket.makefile("rb")


def begin(start: Start, scheme: str, root: Path, body: str, before: str = "") -> Server:
    write(root, "echo_wsh.py", ECHO)
    write(root, "a_wsh.py", handler(body, before=before))
    return start("--grace", "0.3", *(["--tls-self-signed"] if scheme == "wss" else []))


def connect(server: Server, scheme: str, resource: str) -> RawClient:
    client = (TlsClient if scheme == "wss" else RawClient)(server.host, server.port)
    client.handshake(resource)
    assert client.response()[0] == 101
    return client


def check_alive(server: Server, scheme: str) -> None:
    wait_until(lambda: not server.handler_threads(), "the end of the handlers")
    with connect(server, scheme, "/echo") as client:
        client.send(1, b"alive")
        assert client.frame().payload == b"alive"
        client.send(8, close_body(1000))
        client.rest()
    assert server.stop() == 0
    assert "panicked" not in server.log.rest()


# Each thread's messages name it, count up, and repeat one letter: a frame inside another is seen at once.
SENDS = """
over = threading.Event()

def send(number):
    count = 0
    while not over.is_set():
        letter = chr(ord("a") + number)
        size = (0, 10, 200, 70000)[count % 4]
        request.ws_stream.send_message(f"{number} {count} " + letter * size)
        count += 1

senders = [threading.Thread(target=send, args=(number,)) for number in range(THREADS)]
for sender in senders:
    sender.start()
received = 0
while True:
    message = request.ws_stream.receive_message()
    if message == "over":
        break
    assert message == f"up {received}", message
    received += 1
over.set()
for sender in senders:
    sender.join()
request.ws_stream.send_message(f"received {received}")
"""


def test_threads_send_while_another_receives(start: Start, scheme: str, tmp_path: Path) -> None:
    server = begin(start, scheme, tmp_path, SENDS, f"import threading\nTHREADS = {THREADS}\n")
    with connect(server, scheme, "/a") as client:
        deadline = time.monotonic() + STRESS
        sent = 0
        counts = [0] * THREADS
        # One message up for each one down, so that both directions are used all the time.
        while time.monotonic() < deadline or not all(counts):
            client.send(1, b"up %d" % sent)
            sent += 1
            check_frame(client, counts)
        client.send(1, b"over")
        while not (payload := check_frame(client, counts)):
            pass
        assert payload == f"received {sent}".encode()
        assert client.frame().payload == close_body(1000)
        client.send(8, close_body(1000))
        assert client.rest() == b""
    check_alive(server, scheme)


def check_frame(client: RawClient, counts: list[int]) -> bytes:
    """Reads one frame of a sender, and checks it; gives the payload of any other."""
    frame = client.frame()
    assert (frame.opcode, frame.fin) == (1, True)
    first, _, rest = frame.payload.partition(b" ")
    if first == b"received":
        return frame.payload
    number = int(first)
    count, _, letters = rest.partition(b" ")
    assert int(count) == counts[number]
    assert letters == bytes([ord("a") + number]) * (0, 10, 200, 70000)[counts[number] % 4]
    counts[number] += 1
    return b""


# The other thread waits for a message while this one closes, which waits for the answer itself.
CLOSES = """
waits = threading.Event()

def receive():
    waits.set()
    try:
        print("got", repr(request.ws_stream.receive_message()), flush=True)
    except Exception as error:
        print("got", type(error).__name__, flush=True)

other = threading.Thread(target=receive)
other.start()
waits.wait()
try:
    request.ws_stream.close_connection(1001, "enough")
except Exception as error:
    print("closing", type(error).__name__, flush=True)
other.join()
print("joined", flush=True)
"""


@pytest.mark.parametrize("answers", [True, False], ids=["answered", "dropped"])
def test_a_close_while_another_thread_waits(start: Start, scheme: str, tmp_path: Path, answers: bool) -> None:
    server = begin(start, scheme, tmp_path, CLOSES, "import threading")
    with connect(server, scheme, "/a") as client:
        assert client.frame().payload == close_body(1001, "enough")
        if answers:
            client.send(8, close_body(1001))
        client.socket.shutdown(socket.SHUT_WR)
        client.rest()
    server.output.wait_for("^joined$")
    assert "got " in server.output.text
    check_alive(server, scheme)


# The first connection's request is used by the second, whose descriptor may have the first one's number.
KEEPS = """
if not kept:
    kept.append(request)
    return
old = kept[0]
for name, use in {
    "send": lambda: old.ws_stream.send_message("stolen"),
    "ping": lambda: old.ws_stream.send_ping(b"stolen"),
    "receive": lambda: old.ws_stream.receive_message(),
    "write": lambda: old.connection.write(b"stolen"),
    "read": lambda: old.connection.read(1),
}.items():
    try:
        request.ws_stream.send_message(f"{name}: no exception, {use()!r}")
    except Exception as error:
        request.ws_stream.send_message(f"{name}: {type(error).__name__}: {error}")
"""


def test_a_request_after_its_end(start: Start, scheme: str, tmp_path: Path) -> None:
    server = begin(start, scheme, tmp_path, KEEPS, "kept = []")
    with connect(server, scheme, "/a") as client:
        client.send(8, close_body(1000))
        client.rest()
    wait_until(lambda: not server.handler_threads(), "the end of the first handler")
    with connect(server, scheme, "/a") as client:
        for name in ("send", "ping", "receive", "write", "read"):
            payload = client.frame().payload.decode()
            assert payload.startswith(f"{name}: "), payload
            assert "no exception" not in payload or (name == "read" and payload.endswith("b''")), payload
            assert not payload.endswith(": "), f"an exception that says nothing: {payload}"
        assert client.frame().payload == close_body(1000)
        client.send(8, close_body(1000))
        assert client.rest() == b""
    check_alive(server, scheme)


def test_many_threads_use_a_request_while_it_ends(start: Start, scheme: str, tmp_path: Path) -> None:
    body = f"""
    def send():
        try:
            while True:
                request.ws_stream.send_message("x" * 1000)
        except Exception:
            pass

    for _ in range({THREADS}):
        threading.Thread(target=send).start()
    request.ws_stream.receive_message()
    """
    server = begin(start, scheme, tmp_path, body, "import threading")
    threads = len(server.threads())

    def drop() -> None:
        with connect(server, scheme, "/a") as client:
            client.frame()
            client.send(1, b"end")
            client.frame()

    droppers = [threading.Thread(target=drop) for _ in range(4)]
    for dropper in droppers:
        dropper.start()
    for dropper in droppers:
        dropper.join(SECONDS)
        assert not dropper.is_alive()
    wait_until(lambda: len(server.threads()) <= threads + 4, "the end of the senders")
    check_alive(server, scheme)
