"""What a client may not do without end: each limit has its own clear outcome."""

import contextlib
import os
import socket
import threading
import time
import zlib
from pathlib import Path

import pytest
from serving import (
    ECHO,
    SECONDS,
    RawClient,
    Start,
    client_frame,
    close_body,
    handler,
    program_options,
    wait_until,
    write,
)

HUGE = (1 << 62).to_bytes(8, "big")


def test_a_client_in_the_middle_of_a_refused_message_gets_its_close_frame(
    start: Start, tmp_path: Path
) -> None:
    # It goes on sending; to close with bytes unread is a reset, which takes the close frame along.
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--max-message-size", "1000")
    with server.raw("/echo") as client:
        client.socket.sendall(client_frame(2, b"x" * 5_000_000))
        assert client.frame().payload[:2] == close_body(1009)
        assert client.rest() == b""
    assert server.ask("/echo", "alive") == "alive"
    assert "Traceback" not in server.log.text
    place, limit = (
        r"^\[[^\]]+\] \[WARNING\] \S+: wsh-\d+ /echo: ",
        r"larger than 1000 bytes \(--max-message-size\); ",
    )
    server.log.wait_for(f"{place}Message is {limit}it is closed with 1009$")


def test_a_handler_can_go_on_behind_a_message_that_was_too_big(start: Start, tmp_path: Path) -> None:
    body = """
    while True:
        try:
            message = request.ws_stream.receive_message()
        except Exception as error:
            message = type(error).__name__
        if message is None:
            return
        request.ws_stream.send_message(message)
    """
    write(tmp_path, "a_wsh.py", handler(body))
    server = start("--max-message-size", "1000")
    for connections in 1, 2:
        with server.raw("/a") as client:
            too_big = client_frame(2, b"x" * 100_000)
            client.socket.sendall(too_big + client_frame(1, b"next") + too_big + too_big)
            answers = [client.frame().payload for _ in range(4)]
            assert answers == [b"MessageTooBigException", b"next", *[b"MessageTooBigException"] * 2]
        # A client does not fill the log with it.
        wait_until(lambda count=connections: server.log.text.count("Message is larger") >= count, "a record")
    assert server.stop() == 0
    assert server.log.rest().count("Message is larger") == 2


@pytest.mark.parametrize("extension", [None, "permessage-deflate"])
def test_each_server_of_a_program_has_its_own_limits(tmp_path: Path, extension: str | None) -> None:
    pytest.importorskip("wshost")
    from pywebsocket3.standalone import WebSocketServer

    write(tmp_path, "echo_wsh.py", ECHO)
    message = client_frame(2, b"x" * 100_000)
    if extension:
        compressed = zlib.compressobj(wbits=-15)
        data = compressed.compress(b"x" * 100_000) + compressed.flush(zlib.Z_SYNC_FLUSH)
        message = client_frame(2, data[:-4], rsv1=True)
    with contextlib.ExitStack() as stack:

        def serve(**limits: int) -> int:
            server = WebSocketServer(program_options(tmp_path, **limits))
            stack.callback(server.server_close)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join, SECONDS)
            stack.callback(server.shutdown)
            return server.server_port

        def answer(port: int) -> int:
            client = stack.enter_context(RawClient("127.0.0.1", port))
            client.handshake("/echo", *([f"Sec-WebSocket-Extensions: {extension}"] if extension else []))
            assert client.response()[0] == 101
            client.socket.sendall(message)
            frame = client.frame()
            return frame.opcode if frame.opcode != 8 else int.from_bytes(frame.payload[:2], "big")

        ports = serve(max_message_size=1000), serve(max_total_message_size=80_000), serve()
        assert [answer(port) for port in ports] == [1009, 1009, 2]


def test_an_announced_length_costs_nothing(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--max-message-size", str(1 << 63))
    server.ask("/echo", "warm")
    before = server.memory("VmHWM")
    with server.raw("/echo") as client:
        client.socket.sendall(b"\x82\xff" + HUGE + bytes(4) + b"x" * 100_000)
        client.socket.sendall(b"y" * 100_000)
    server.ask("/echo", "alive")
    assert server.memory("VmHWM") - before < 16 << 20


def test_pings_without_end(start: Start, tmp_path: Path) -> None:
    # A handler that never reads lets them pile up at the client, not here.
    write(tmp_path, "deaf_wsh.py", handler("import time\ntime.sleep(3600)"))
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start()
    server.ask("/echo", "warm")
    before = server.memory("VmHWM")
    pings = client_frame(9, b"x" * 100) * 10_000
    with server.raw("/deaf") as client:
        client.socket.setblocking(False)
        sent = 0
        try:
            while sent < len(pings) * 100:
                sent += client.socket.send(pings)
        except BlockingIOError:
            pass
        assert server.ask("/echo", "alive") == "alive"
    with server.raw("/echo") as client:
        for _ in range(5):
            client.socket.sendall(pings[: len(pings) // 10])
            for _ in range(1000):
                assert client.frame().payload == b"x" * 100
    assert server.memory("VmHWM") - before < 16 << 20


def test_empty_fragments_without_end(start: Start, tmp_path: Path) -> None:
    # Each is taken and forgotten; the message is still one when its end comes.
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start()
    server.ask("/echo", "warm")
    before = server.memory("VmHWM")
    empty = client_frame(0, fin=False) * 10_000
    with server.raw("/echo") as client:
        client.send(1, b"a", fin=False)
        for _ in range(50):
            client.socket.sendall(empty)
        assert server.ask("/echo", "alive") == "alive"
        client.send(0, b"z")
        assert client.frame().payload == b"az"
    assert server.memory("VmHWM") - before < 8 << 20


def test_a_subprotocol_cannot_bring_fields_of_its_own(start: Start, tmp_path: Path) -> None:
    handshake = 'request.ws_protocol = "a\\r\\nX-Evil: 1"'
    write(tmp_path, "a_wsh.py", handler("pass", handshake))
    with start().raw("/a", "Sec-WebSocket-Protocol: a", upgraded=False) as client:
        status, fields = client.response()
        assert status >= 400
        assert "x-evil" not in fields


def test_extra_headers_go_out_as_they_are(start: Start, tmp_path: Path) -> None:
    # The contract: tests of browsers send broken headers on purpose, and they come from the handler.
    handshake = """
    request.extra_headers.append(("X-One", "1\\r\\nX-Two: 2"))
    request.extra_headers.append(("X Three ", "\\x01\\xe9 "))
    """
    write(tmp_path, "a_wsh.py", handler("pass", handshake))
    with start().raw("/a", upgraded=False) as client:
        client.send(8, close_body(1000))
        head = client.rest().partition(b"\r\n\r\n")[0]
    assert head.endswith(b"\r\nX-One: 1\r\nX-Two: 2\r\nX Three : \x01\xc3\xa9 ")


@pytest.mark.parametrize(
    ("fields", "explanation"),
    [
        ("A: b\r\n" * 101, b"got more than 100 headers"),
        (f"A: {'b' * 60_000}\r\n" * 9, b"got more than 524288 bytes"),
        (f"A: {'b' * 65_536}\r\n", b"got more than 65536 bytes when reading header line"),
    ],
    ids=["lines", "size", "line"],
)
def test_a_head_has_limits(start: Start, tmp_path: Path, fields: str, explanation: bytes) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start()
    with RawClient(server.host, server.port) as client:
        client.socket.sendall(f"GET /echo HTTP/1.1\r\n{fields}\r\n".encode())
        answer = client.rest()
    assert answer.startswith(b"HTTP/1.0 431 ")
    assert explanation in answer
    assert server.ask("/echo", "alive") == "alive"


def test_a_slow_head_ends_with_the_time_limit(start: Start, tmp_path: Path) -> None:
    # The limit is for the whole head: a byte now and then does not begin it anew.
    server = start("--head-timeout", "0.5")
    with RawClient(server.host, server.port) as client:
        client.socket.sendall(b"GET / HTTP/1.1\r\nX: ")
        answered = threading.Event()
        answer: list[bytes] = []

        def read() -> None:
            answer.append(client.rest())
            answered.set()

        reader = threading.Thread(target=read)
        reader.start()
        deadline = time.monotonic() + SECONDS
        while not answered.wait(0.01) and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                client.socket.sendall(b"x")
        assert answered.is_set(), "the head may take for ever"
        reader.join(SECONDS)
    assert answer[0].startswith(b"HTTP/1.0 408 ")


def test_a_slow_handler_is_not_in_the_time_limit_of_heads(start: Start, tmp_path: Path) -> None:
    # Its opening handshake waits until somebody opens the other end of the pipe.
    os.mkfifo(tmp_path / "go")
    handshake = f"open({str(tmp_path / 'go')!r}).close()"
    write(tmp_path, "slow_wsh.py", handler("request.ws_stream.send_message('late')", handshake))
    server = start("--head-timeout", "0.1")
    with server.raw("/slow", upgraded=False) as client:
        wait_until(server.handler_threads, "the handler")
        # The limit passes for somebody who came later.
        with RawClient(server.host, server.port) as silent:
            assert silent.rest() == b""
        (tmp_path / "go").write_text("")
        assert client.response()[0] == 101
        assert client.frame().payload == b"late"


def test_a_request_does_not_hide_in_another(start: Start, tmp_path: Path) -> None:
    # What follows a request whose length can be read in two ways, or that was refused, is no request.
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start()
    hidden = "GET /echo_wsh.py HTTP/1.1\r\nHost: a\r\n\r\n"
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        f"GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {len(hidden)}\r\n\r\n",
    ]:
        with RawClient(server.host, server.port) as client:
            client.socket.sendall((head + hidden).encode())
            client.socket.shutdown(socket.SHUT_WR)
            assert client.rest().count(b"HTTP/1.") == 1, head
