"""`--ping-interval`, `--ping-timeout`: clients that are gone without a word are found, others left alone."""

import signal
import ssl
import threading
from pathlib import Path

import pytest
from serving import (
    SECONDS,
    Frame,
    RawClient,
    Server,
    Start,
    client_frame,
    close_body,
    handler,
    program_options,
    wait_until,
    write,
)
from websockets.sync.client import connect

# Tells of each message, of pongs, and of how it ended.
SOURCE = handler(
    """
    request.on_pong_handler = lambda request, body: print("pong", body, flush=True)
    try:
        while (message := request.ws_stream.receive_message()) is not None:
            opcode = request.ws_stream.get_last_received_opcode()
            request.ws_stream.send_message(f"{len(message)} {opcode}")
        print("closed", flush=True)
    except Exception as error:
        print("lost", type(error).__name__, error, flush=True)
        raise
    """
)
PING, PONG = 9, 10
SOON = ["--ping-interval", "0.05", "--ping-timeout", "0.2"]
PATIENT = ["--ping-interval", "0.05", "--ping-timeout", "30"]


@pytest.fixture(params=["ws", "wss"])
def scheme(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


def begin(start: Start, scheme: str, tmp_path: Path, options: list[str]) -> Server:
    write(tmp_path, "a_wsh.py", SOURCE)
    return start("--log-level", "info", *options, *(["--tls-self-signed"] if scheme == "wss" else []))


def open_raw(server: Server, scheme: str, resource: str = "/a") -> RawClient:
    client = RawClient(server.host, server.port)
    if scheme == "wss":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client.socket = context.wrap_socket(client.socket)
        client._file = client.socket.makefile("rb")
    client.handshake(resource)
    assert client.response()[0] == 101
    return client


def message(client: RawClient) -> bytes:
    """The next frame that is no ping."""
    while (frame := client.frame()).opcode == PING:
        pass
    return frame.payload


def test_a_client_that_never_answers_is_gone(start: Start, scheme: str, tmp_path: Path) -> None:
    server = begin(start, scheme, tmp_path, SOON)
    with open_raw(server, scheme) as client:
        assert client.frame().opcode == PING
        client.send(1, b"x")
        assert message(client) == b"1 1"
        assert client.frame().opcode == PING
        # Nothing else comes: no second ping, no close frame to somebody who is not there.
        assert client.rest() == b""
    server.output.wait_for(r"^lost ConnectionTerminatedException .*Connection timed out")
    server.log.wait_for(r"127\.0\.0\.1:\d+: gone without a word")
    wait_until(lambda: not server.handler_threads(), "the end of the handler")


@pytest.mark.parametrize(
    "sent", [b"", client_frame(1, b"a", fin=False), client_frame(1, b"y" * 90_000)[:50_000]]
)
def test_in_the_middle_of_a_message(start: Start, scheme: str, tmp_path: Path, sent: bytes) -> None:
    server = begin(start, scheme, tmp_path, SOON)
    with open_raw(server, scheme) as client:
        client.socket.sendall(sent)
        assert client.frame().opcode == PING
        assert client.rest() == b""
    server.output.wait_for("^lost ConnectionTerminatedException")


def test_a_client_that_answers_stays(start: Start, scheme: str, tmp_path: Path) -> None:
    server = begin(start, scheme, tmp_path, PATIENT)
    with open_raw(server, scheme) as client:
        for _ in range(5):
            ping = client.frame()
            assert ping.opcode == PING
            client.send(PONG, ping.payload)
        client.send(1, b"alive")
        # The handler has seen nothing of it.
        assert message(client) == b"5 1"
        client.send(PONG, b"of its own accord")
        server.output.wait_for("^pong b'of its own accord'$")
        client.send(8, close_body(1000))
        client.rest()
    server.output.wait_for("^closed$")
    assert server.output.text.count("pong") == 1


def test_pings_come_between_frames(start: Start, scheme: str, tmp_path: Path) -> None:
    server = begin(start, scheme, tmp_path, PATIENT)
    with open_raw(server, scheme) as client:
        # A message in pieces, and a pong in pieces: each is waited for long enough to ask.
        client.send(1, b"ab", fin=False)
        ping = client.frame()
        pong = client_frame(PONG, ping.payload)
        client.socket.sendall(pong[:9])
        assert client.frame().opcode == PING
        client.socket.sendall(pong[9:])
        large = client_frame(0, b"c" * 100_000)
        client.socket.sendall(large[:60_000])
        assert client.frame().opcode == PING
        client.socket.sendall(large[60_000:])
        assert message(client) == b"100002 1"


def test_nothing_comes_behind_the_close_frame(start: Start, scheme: str, tmp_path: Path) -> None:
    # A peer that does not answer it is not asked, and is given up all the same.
    write(tmp_path, "close_wsh.py", handler("request.ws_stream.close_connection(4000, 'enough')"))
    server = begin(start, scheme, tmp_path, SOON)
    with open_raw(server, scheme, "/close") as client:
        assert client.rest() == b"\x88\x08" + close_body(4000, "enough")
    server.log.wait_for(r"127\.0\.0\.1:\d+: gone without a word")
    wait_until(lambda: not server.handler_threads(), "the end of the handler")


def test_nothing_comes_behind_the_close_frame_of_a_stop(start: Start, scheme: str, tmp_path: Path) -> None:
    server = begin(start, scheme, tmp_path, [*PATIENT, "--grace", "1"])
    with open_raw(server, scheme) as client:
        ping = client.frame()
        server.process.send_signal(signal.SIGTERM)
        assert client.frame() == Frame(8, close_body(1001))
        # It would be asked again now.
        client.send(PONG, ping.payload)
        assert client.rest() == b""
    assert server.process.wait(SECONDS) == 0


def test_any_byte_is_a_sign_of_life(start: Start, scheme: str, tmp_path: Path) -> None:
    # After each piece the client has been asked again: what came took the last question back.
    server = begin(start, scheme, tmp_path, PATIENT)
    with open_raw(server, scheme) as client:
        for byte in client_frame(1, b"12345"):
            assert client.frame().opcode == PING
            client.socket.sendall(bytes([byte]))
        assert message(client) == b"5 1"


def test_raw_reads_wait_for_ever(start: Start, tmp_path: Path) -> None:
    # Past all framing nobody is asked, and nobody is given up.
    body = "print(request.connection.read(1), request.ws_stream.receive_bytes(3), flush=True)"
    write(tmp_path, "raw_wsh.py", handler(f"{body}\nrequest.server_terminated = True"))
    server = begin(start, "ws", tmp_path, ["--ping-interval", "0.01", "--ping-timeout", "0.01"])

    def some_time() -> None:
        # As long as it takes to give somebody else up.
        with open_raw(server, "ws") as other:
            other.rest()

    with server.raw("/raw") as client:
        some_time()
        client.socket.sendall(b"12")
        some_time()
        client.socket.sendall(b"34")
        assert client.rest() == b""
    server.output.wait_for(r"^b'1' b'234'$")


def test_real_clients_notice_nothing(start: Start, tmp_path: Path) -> None:
    server = begin(start, "ws", tmp_path, PATIENT)
    with connect(f"ws://{server.address}/a", open_timeout=SECONDS) as client:
        done = threading.Event()
        # The library answers pings while it waits.
        assert not done.wait(0.3)
        client.send("hello")
        assert client.recv(timeout=SECONDS) == "5 1"


def test_off_by_default(start: Start, tmp_path: Path) -> None:
    server = begin(start, "ws", tmp_path, [])
    with open_raw(server, "ws") as client:
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)


def test_in_a_program_of_ones_own(tmp_path: Path) -> None:
    pytest.importorskip("wshost")
    from pywebsocket3.standalone import WebSocketServer

    write(tmp_path, "a_wsh.py", SOURCE)
    server = WebSocketServer(program_options(tmp_path, ping_interval=0.05, ping_timeout=0.2))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with RawClient("127.0.0.1", server.server_port) as client:
            client.handshake("/a")
            assert client.response()[0] == 101
            assert client.frame().opcode == PING
            assert client.rest() == b""
    finally:
        server.shutdown()
        thread.join(SECONDS)
        server.server_close()
