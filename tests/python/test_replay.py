"""`wshost replay`: what `--trace` has recorded, sent again and compared."""

import base64
import json
import re
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import ECHO, RawClient, Server, Start, close_body, handler, run, wait_until, write
from test_tls import signed, tls_options
from test_trace import data, records

CHAT = handler(
    """
    clients.append(request)
    # From here on it gets what others say.
    request.ws_stream.send_message("welcome")
    try:
        while True:
            message = request.ws_stream.receive_message()
            if message is None:
                return
            for client in clients:
                client.ws_stream.send_message(message)
    finally:
        clients.remove(request)
    """,
    before="clients = []\n",
)
PROTOCOL = handler(
    "request.ws_stream.send_message(request.ws_protocol)",
    "request.ws_protocol = request.ws_requested_protocols[0]",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What the servers are started on, beside the trace."""
    write(tmp_path, "root/chat_wsh.py", CHAT)
    write(tmp_path, "root/protocol_wsh.py", PROTOCOL)
    return write(tmp_path, "root/echo_wsh.py", ECHO).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.fixture
def record(start: Start, root: Path) -> Callable[..., Server]:
    def begin(*options: str) -> Server:
        return start("--trace", "../trace", *options, root=root)

    return begin


def replay(path: Path, server: Server, *options: str, scheme: str = "ws") -> tuple[int, list[str]]:
    """The exit code, and the lines."""
    done = run("replay", str(path), f"{scheme}://localhost:{server.port}/any", *options)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def echo(server: Server, *messages: str, **options: Any) -> None:
    with server.talk("/echo", max_size=None, **options) as client:
        for message in messages:
            client.send(message)
            assert client.recv() == message


def closed(client: RawClient) -> None:
    """Closes as RFC 6455 wants it."""
    client.send(8, close_body(1000))
    client.rest()


def ended(server: Server) -> None:
    """Stops the server when all its handlers are done."""
    wait_until(lambda: not server.handler_threads(), "the end of the handlers")
    assert server.stop() == 0


def record_all(server: Server) -> list[str]:
    """Has connections of each kind; gives the resource of each."""
    echo(server, "text", "x" * 70_000)  # Compressed.
    echo(server, "text", "x" * 2_000_000, compression=None)
    with server.talk("/protocol", subprotocols=["b", "a"]) as client:  # The server closes.
        assert client.recv() == "b"
    with server.raw("/echo") as raw:  # No close frame.
        raw.send(1, b"half")
        assert raw.frame().payload == b"half"
    with server.raw("/protocol", upgraded=False) as raw:
        assert raw.response()[0] == 403
    ended(server)
    return ["/echo", "/echo", "/protocol", "/echo", "/protocol"]


def sent(path: Path) -> list[bytes]:
    """What each client sent."""
    streams: dict[int, bytes] = {}
    for told in records(path):
        piece = data(told) if told["event"] == "in" else b""
        streams[told["connection"]] = streams.get(told["connection"], b"") + piece
    return [stream for _, stream in sorted(streams.items())]


def test_the_same_server_says_the_same(
    start: Start, record: Callable[..., Server], root: Path, path: Path
) -> None:
    resources = record_all(record())
    again = start("--trace", "../again", root=root)
    code, lines = replay(path, again)
    # Those that overlap may end in any order.
    shown = [re.sub(r"\d+ bytes", "N bytes", line) for line in sorted(lines[:-1])] + lines[-1:]
    expected = [f"{number} {resource}: ok, N bytes" for number, resource in enumerate(resources, 1)]
    assert (code, shown) == (0, [*expected, "5 ok, 0 not"]), lines
    assert re.match(r"2 /echo: ok, 2000\d{3} bytes", lines[1])
    ended(again)
    assert sent(path.with_name("again")) == sent(path)
    ends = [told["by"] for told in records(path) if told["event"] == "end"]
    copy = path.with_name("again")
    assert sorted(ends) == sorted(told["by"] for told in records(copy) if told["event"] == "end")
    assert "client" in ends


def test_a_changed_handler_is_told(
    start: Start, record: Callable[..., Server], root: Path, path: Path
) -> None:
    recorded = record()
    with recorded.raw("/echo") as raw:
        for message in [b"first", b"hello"]:
            raw.send(1, message)
            assert raw.frame().payload == message
        closed(raw)
    with recorded.raw("/protocol", "Sec-WebSocket-Protocol: b, a") as raw:
        closed(raw)
    ended(recorded)
    write(root, "echo_wsh.py", ECHO.replace("send_message(message", "send_message(message.replace('l', 'L')"))
    write(root, "protocol_wsh.py", PROTOCOL.replace("[0]", "[1]"))
    code, lines = replay(path, start(root=root))
    assert code == 1
    assert lines == [
        r'1 /echo: byte 11 behind the head: recorded ..."irst\x81\x05hello\x88\x02\x03\xe8",'
        r' came ..."irst\x81\x05heLLo"',
        '2 /protocol: field sec-websocket-protocol: recorded "b", came "a"',
        "0 ok, 2 not",
    ]
    write(root, "protocol_wsh.py", handler("pass", "raise Exception()"))
    code, lines = replay(path, start(root=root), "--connection", "2")
    assert code == 1
    assert re.match(r'2 /protocol: status line: recorded "HTTP/1.1 101 .*", came "HTTP/1.0 403 ', lines[0])
    assert lines[1:] == ["0 ok, 1 not"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("request.ws_stream.receive_message()", r'recorded "\x81\x05hello", came "\x88\x02\x03\xe8"'),
        ("raise SystemExit", r'recorded "\x81\x05hello", then the end of the connection'),
        (
            "request.ws_stream.receive_message(); import time; time.sleep(600)",
            "then nothing more within 0.5 s",
        ),
    ],
)
def test_a_server_that_says_less(
    start: Start, record: Callable[..., Server], root: Path, path: Path, body: str, told: str
) -> None:
    with record().raw("/echo") as raw:
        raw.send(1, b"hello")
        assert raw.frame().payload == b"hello"
    server = start(root=write(root, "echo_wsh.py", handler(body)).parent)
    code, lines = replay(path, server, "--timeout", "0.5")
    assert (code, lines[1:]) == (1, ["0 ok, 1 not"])
    assert lines[0].startswith("1 /echo: byte 0 behind the head: ")
    assert told in lines[0]


def test_a_server_that_says_more(start: Start, record: Callable[..., Server], root: Path, path: Path) -> None:
    body = "request.ws_stream.send_message('one')"
    write(root, "one_wsh.py", handler(body))
    recorded = record()
    with recorded.raw("/one") as raw:
        assert raw.frame().payload == b"one"
        assert raw.frame().opcode == 8
        closed(raw)
    ended(recorded)
    write(root, "one_wsh.py", handler("request.connection.write(b'\\x81\\x03one\\x88\\x02\\x03\\xe8more')"))
    code, lines = replay(path, start(root=root))
    assert (code, lines[1:]) == (1, ["0 ok, 1 not"])
    assert lines[0].startswith('1 /one: byte 9 behind the head: recorded the end, came "more')
    # Where the recording stops before the connection, what comes after it does not count.
    write(path.parent, "cut", "\n".join(path.read_text().splitlines()[:-1]) + "\n")
    code, lines = replay(path.with_name("cut"), start(root=root))
    assert (code, lines[-1]) == (0, "1 ok, 0 not")


def test_connections_that_wait_for_each_other(
    start: Start, record: Callable[..., Server], root: Path, path: Path
) -> None:
    server = record()
    with server.talk("/chat") as first, server.talk("/chat") as second:
        assert first.recv() == second.recv() == "welcome"
        for turn, (speaker, listener) in enumerate([(first, second), (second, first)] * 3):
            speaker.send(f"turn {turn}")
            assert speaker.recv() == listener.recv() == f"turn {turn}"
    ended(server)
    server = start(root=root)
    code, lines = replay(path, server)
    assert (code, lines[-1]) == (0, "2 ok, 0 not"), lines
    # Alone, nobody else speaks.
    code, lines = replay(path, server, "--connection", "2", "--timeout", "0.3")
    assert (code, lines[-1]) == (1, "0 ok, 1 not"), lines
    assert "then nothing more within 0.3 s" in lines[0]


def test_pauses_are_kept_when_asked(
    start: Start, record: Callable[..., Server], root: Path, path: Path
) -> None:
    body = """
        import time
        request.ws_stream.send_message(request.ws_stream.receive_message())
        begin = time.monotonic()
        request.ws_stream.receive_message()
        request.ws_stream.send_message('late' if time.monotonic() - begin > 2 else 'soon')
    """
    write(root, "slow_wsh.py", handler(body))
    server = record()
    with server.raw("/slow") as raw:
        raw.send(1, b"first")
        assert raw.frame().payload == b"first"
        raw.send(1, b"second")
        assert raw.frame().payload == b"soon"
        closed(raw)
    ended(server)
    # As if the second message had come three seconds later, and the server had answered so.
    told = records(path)
    answer = next(i for i, one in enumerate(told) if one["event"] == "out" and b"soon" in data(one))
    second = max(i for i in range(answer) if told[i]["event"] == "in")
    told[answer] = told[answer] | {"base64": base64.b64encode(data(told[answer]).replace(b"soon", b"late"))}
    told[answer]["base64"] = told[answer]["base64"].decode()
    for one in told[second:]:
        one["at"] += 3
    path.write_text("".join(json.dumps(one) + "\n" for one in told))
    server = start(root=root)
    assert replay(path, server)[0] == 1
    assert replay(path, server, "--timing") == (0, ["1 /slow: ok, 146 bytes", "1 ok, 0 not"])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_tls(start: Start, record: Callable[..., Server], root: Path, path: Path, tmp_path: Path) -> None:
    authority = signed(tmp_path, "authority", None, is_authority=True)
    certificate = signed(tmp_path, "leaf", "authority", is_authority=False)
    server = record(*tls_options(certificate, tmp_path / "leaf-key.pem"))
    context = ssl.create_default_context(cafile=str(authority))
    with RawClient(server.host, server.port) as client:
        client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
        client._file = client.socket.makefile("rb")
        client.handshake("/echo")
        assert client.response()[0] == 101
        client.send(2, b"x" * 3_000_000)
        assert client.frame().payload == b"x" * 3_000_000
        client.send(8, close_body(1000))
        client.rest()
    ended(server)
    server = start(*tls_options(certificate, tmp_path / "leaf-key.pem"), root=root)
    for options in [["--insecure"], ["--ca", str(authority)]]:
        code, lines = replay(path, server, *options, scheme="wss")
        assert (code, lines[-1]) == (0, "1 ok, 0 not"), lines
    stranger = signed(tmp_path, "stranger", None, is_authority=True)
    done = run("replay", str(path), f"wss://localhost:{server.port}", "--ca", str(stranger))
    assert (done.returncode, done.stdout) == (1, "")
    expected = rf"wshost: replay: no TLS with localhost port {server.port}: .*UnknownIssuer.*--insecure\n"
    assert re.fullmatch(expected, done.stderr)
    done = run("replay", str(path), f"wss://localhost:{server.port}", "--ca", str(path))
    assert (done.returncode, done.stderr) == (
        1,
        f'wshost: --ca {path}: no certificate in it; it must be PEM, with "BEGIN CERTIFICATE"\n',
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = "127.0.0.1", silent.getsockname()[1]
        done = run("replay", str(path), "wss://{}:{}".format(*place), "--insecure", "--timeout", "0.2")
    told = "wshost: replay: no TLS with {} port {}: no answer within 0.2 s; check the URL\n".format(*place)
    assert (done.returncode, done.stderr) == (1, told)


def test_what_a_killed_server_leaves_behind(
    record: Callable[..., Server], path: Path, start: Start, root: Path
) -> None:
    server = record()
    with server.raw("/echo") as raw:
        raw.send(1, b"last")
        assert raw.frame().payload == b"last"

        def is_recorded() -> bool:
            return any(told["event"] == "out" and b"last" in data(told) for told in records(path))

        wait_until(is_recorded, "the answer in the trace")
        server.kill()
    with path.open("a") as file:
        file.write('{"at":0.5,"conn')
    done = run("replay", str(path), f"ws://localhost:{start(root=root).port}")
    assert done.returncode == 0, done
    number = len(path.read_text().splitlines())
    assert done.stderr == f"wshost: replay: {path}: line {number} is cut off and left out\n"
    assert done.stdout.splitlines()[-1] == "1 ok, 0 not"


def test_files_that_are_no_trace(tmp_path: Path) -> None:
    def refused(path: Path, *options: str) -> str:
        done = run("replay", str(path), "ws://localhost:1", *options)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    missing = tmp_path / "missing"
    told = "No such file or directory (os error 2); check the path and its permissions"
    assert refused(missing) == f"wshost: replay {missing}: {told}\n"
    path = write(tmp_path, "trace", "")
    told = "no connection is recorded in it; record one with --trace"
    assert refused(path) == f"wshost: replay: {path}: {told}\n"
    opening = '{"connection":1,"event":"open","time":"2026-01-02T03:04:05Z","resource":"/"}\n'
    path.write_text(f"{opening}no JSON\n")
    told = "line 2: not a whole JSON object; record again, or delete the line"
    assert refused(path) == f"wshost: replay: {path}: {told}\n"
    path.write_text(opening)
    told = "no connection 2; it has those from 1 to 1"
    assert refused(path, "--connection", "2") == f"wshost: replay: {path}: {told}\n"


def test_nobody_listens(tmp_path: Path) -> None:
    opening = '{"connection":1,"event":"open","time":"2026-01-02T03:04:05Z","resource":"/"}\n'
    path = write(tmp_path, "trace", opening)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = run("replay", str(path), f"ws://127.0.0.1:{port}")
    told = "Connection refused (os error 111); start the server, or check the URL"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"wshost: replay: cannot connect to 127.0.0.1 port {port}: {told}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trace"], "URL"),
        (["trace", "localhost:1"], "ws://HOST:PORT"),
        (["trace", "wss://localhost:1"], "wss:// needs --ca FILE, or --insecure"),
        (["trace", "wss://localhost:1", "--ca", "x", "--insecure"], "cannot be used with"),
        (["trace", "ws://localhost:1", "--connection", "0"], "--connection"),
        (["trace", "ws://localhost:1", "--timeout", "0"], "more than 0"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str) -> None:
    done = run("replay", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert done.stderr.endswith("; see --help\n")


def test_help_says_what_there_is() -> None:
    done = run("replay", "--help")
    assert done.returncode == 0
    # Lines are as long as the terminal is wide.
    text = " ".join(done.stdout.split())
    for name in [
        "FILE",
        "URL",
        "--ca",
        "--insecure",
        "--connection",
        "--timing",
        "--timeout",
        "[default: 10]",
    ]:
        assert name in text
