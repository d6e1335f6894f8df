"""What the log says, in which form, and that no peer can make it say something else."""

import json
import os
import pty
import re
import socket
import subprocess
from pathlib import Path

import pytest
from serving import RawClient, Server, environment, handler, program, talk, write
from websockets.exceptions import ConnectionClosed

LOGGING = """
import logging
import warnings

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        if message == "warn":
            warnings.warn("careful")
        elif message == "raise":
            raise ValueError("first\\n[2026-01-01 00:00:00,000] [INFO] forged: record")
        else:
            logging.getLogger("their.own").warning("%s", message)
        request.ws_stream.send_message("done")
"""
RECORD = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] \[[A-Z]+\] [^:]+: "
FORGED = "x\n[2026-01-01 00:00:00,000] [INFO] forged: record\r\x1b[2J\x9b\u2028"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "log_wsh.py").write_text(LOGGING)
    return tmp_path


def say(server: Server, *messages: str) -> None:
    """Has the handler log each message."""
    with talk(server.address, "/log") as client:
        for message in messages:
            client.send(message)
            assert client.recv() == "done"


def test_loggers_and_warnings_of_handlers_keep_their_names(root: Path) -> None:
    with Server(root) as server:
        say(server, "hello", "warn")
        server.log.wait_for(r"\[WARNING\] their\.own: hello$")
        server.log.wait_for(r"\[WARNING\] py\.warnings: .*log_wsh\.py:\d+: UserWarning: careful$")


def test_what_a_client_sends_cannot_forge_a_record(root: Path) -> None:
    with Server(root, "--log-level", "debug") as server:
        say(server, FORGED)
        with talk(server.address, "/log") as client:
            client.send("raise")
            with pytest.raises(ConnectionClosed):
                client.recv()
        server.log.wait_for("^  ValueError: .*: first$")
        server.log.wait_for(
            r"^  \[2026-01-01 00:00:00,000\] \[INFO\] forged: record\\r\\x1b\[2J\\x9b\\u2028$"
        )
        server.kill()
        lines = server.log.rest().splitlines()
    records = [line for line in lines if line.startswith("[")]
    assert all(re.match(RECORD, line) for line in records)
    assert not any("] forged:" in line for line in records)
    # The ready line is not of the log.
    others = [line for line in lines if line not in records and not line.startswith("wshost: listening")]
    assert all(line.startswith("  ") for line in others), others


EVIL = b"\x1b[31m\x9b2J\x08\x7f'\"\\"
"""Steers a terminal, and would end a quoted text."""
FOLDED = EVIL + b"\x85\r\n [2026-01-01 00:00:00,000] [INFO] forged: record"
WORDS = b"GET / /\r" + EVIL + b" HTTP/1.1"
"""A request line with a word too many."""
OPENING = {
    b"Host": b"a",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
}


def python(text: bytes) -> str:
    """How Python code quotes what came from a client."""
    return repr(text.decode("latin-1"))


def bare(text: bytes) -> str:
    """How the log itself escapes it where nobody quoted it."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text.decode("latin-1"))


def quoted(text: bytes) -> str:
    """How it stands in the line of a response."""
    escaped = text.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in escaped)


def logged_for(root: Path, request_line: bytes, fields: "dict[bytes, bytes]") -> "list[str]":
    """What the server logs of an opening handshake; nothing in it can be taken for something else."""
    head = request_line + b"".join(b"\r\n" + name + b": " + value for name, value in fields.items())
    with Server(root, "--log-level", "debug") as server:
        with RawClient(server.host, server.port) as client:
            client.socket.sendall(head + b"\r\n\r\n")
            client.socket.shutdown(socket.SHUT_WR)
            client.rest()
        assert server.stop() == 0
        text = server.log.rest()
    lines = [line for line in text.split("\n") if not line.startswith("wshost: listening")]
    assert all(line == "" or line.startswith("  ") or re.match(RECORD, line) for line in lines), text
    assert not re.search(r"[^\n\t\x20-\x7e\xa0-\uffff]", text), repr(text)
    return lines


@pytest.mark.parametrize(
    ("request_line", "said"),
    [
        (b"GET /none" + EVIL + b" HTTP/1.1", f"No handler for resource: {python(b'/none' + EVIL)}"),
        (b"GET ws://x:" + EVIL + b"/ HTTP/1.1", f"Invalid URI: {python(b'ws://x:' + EVIL + b'/')}"),
        (EVIL + b" /log_wsh.py HTTP/1.1", f"Unsupported method ({python(EVIL)})"),
        (b"GET /log HTTP/" + EVIL, f"Bad request version ({python(b'HTTP/' + EVIL)})"),
        (WORDS, f"Bad request syntax ({python(WORDS)})"),
    ],
    ids=["path", "address", "method", "version", "words"],
)
def test_a_request_line_cannot_forge_a_record(root: Path, request_line: bytes, said: str) -> None:
    lines = logged_for(root, request_line, OPENING)
    assert any(line.endswith(said) for line in lines), lines
    response = f'"{quoted(request_line)}" '.replace("\\u{d}", "\\r")
    assert any(response in line for line in lines), lines


def test_what_a_handler_raises_cannot_forge_a_record(root: Path) -> None:
    # The resource stands in the record as it came.
    write(root, "log_wsh.py", handler("pass", "raise ValueError(request.uri)"))
    lines = logged_for(root, b"GET /log?" + EVIL + b" HTTP/1.1", OPENING)
    resource = bare(b"/log?" + EVIL)
    assert any(line.endswith(f"raised exception for {resource}: {resource}") for line in lines), lines


SAID = {
    "Upgrade": f"Expected 'websocket' for header Upgrade but found {python(FOLDED)} (case-insensitive)",
    "Sec-WebSocket-Version": f"Multiple versions ({python(FOLDED)}) are not allowed",
    "Sec-WebSocket-Key": f"contains illegal character ',': {python(FOLDED)}",
    "Connection": r"Expected a comma but found '\x1b'",
    "Sec-WebSocket-Protocol": r"Expected a comma but found '\x1b'",
    "Sec-WebSocket-Extensions": r"Expected a comma but found '\\x1b'",
    "Origin": "",
    "Host": "",
}
"""What is logged of a field beside the list of all fields."""


@pytest.mark.parametrize("name", SAID)
def test_a_field_cannot_forge_a_record(root: Path, name: str) -> None:
    lines = logged_for(root, b"GET /log HTTP/1.1", OPENING | {name.encode(): FOLDED})
    assert any(f"({name!r}, {python(FOLDED)})" in line for line in lines), lines
    assert any(SAID[name] in line for line in lines), lines


def test_json_is_one_object_a_line(root: Path) -> None:
    log = root / "ws.log"
    with Server(root, "-l", str(log), "--log-format", "json", "--log-level", "debug") as server:
        say(server, FORGED)
        assert server.stop() == 0
    objects = [json.loads(line) for line in log.read_text().split("\n")[:-1]]
    [mine] = [record for record in objects if record["logger"] == "their.own"]
    assert (mine["level"], mine["message"]) == ("WARNING", FORGED)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)", mine["time"])


def test_nothing_is_lost_while_the_log_is_rotated(root: Path) -> None:
    clients, messages = 10, 50
    options = ["-l", "ws.log", "--log-max", "2000", "--log-count", "200"]
    with Server(root, *options) as server:
        connections = [talk(server.address, "/log") for _ in range(clients)]
        for number in range(messages):
            for name, client in enumerate(connections):
                client.send(f"{name}-{number}")
        for client in connections:
            for _ in range(messages):
                client.recv()
            client.close()
        assert server.stop() == 0
    files = list(root.glob("ws.log*"))
    assert len(files) > 5
    assert all(file.stat().st_size < 2000 for file in files)
    found = re.findall(r"their\.own: (\d+-\d+)$", "".join(file.read_text() for file in files), re.M)
    assert sorted(found) == sorted(
        f"{name}-{number}" for name in range(clients) for number in range(messages)
    )


def test_levels_of_permessage_deflate(root: Path) -> None:
    pattern = r"\[DEBUG\] pywebsocket3\.util\._(De|In)flater: "
    with Server(root, "--log-level", "debug", "--deflate-log-level", "debug") as server:
        say(server, "a" * 200)
        server.log.wait_for(pattern)
    with Server(root, "--log-level", "debug") as server:
        say(server, "a" * 200)
        server.log.wait_for("their.own: a")
        assert not re.search(pattern, server.log.text)


def test_the_thread_monitor_tells_of_running_handlers(root: Path) -> None:
    name = r"\[INFO\] pywebsocket3\.server_util\.ThreadMonitor: "
    with Server(root, "--thread-monitor-interval-in-sec", "1", "--log-level", "info") as server:
        server.log.wait_for(name + "0 active threads: $")
        with talk(server.address, "/log?x=1"):
            server.log.wait_for(name + r"1 active threads: wsh-1 /log\?x=1 \(127\.0\.0\.1:\d+, \d+ s\)$")
        start = len(server.log.text)
        server.log.wait_for(name + "0 active threads: $", start)


@pytest.mark.parametrize(
    ("changes", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_on_a_terminal_only(changes: "dict[str, str]", coloured: bool, root: Path) -> None:
    (root / "broken_wsh.py").write_text("(")
    env = {name: value for name, value in environment().items() if name != "NO_COLOR"}
    ours, theirs = pty.openpty()
    with Server(root, env=env | {"TERM": "xterm"}) as server:
        server.log.wait_for(r"\[WARNING\] ")
        assert "\x1b" not in server.log.text
    process = subprocess.Popen(
        [*program(), "-H", "127.0.0.1", "-p", "0", "-d", str(root)],
        stdin=subprocess.DEVNULL,
        stderr=theirs,
        env=env | {"TERM": "xterm"} | changes,
    )
    os.close(theirs)
    try:
        shown = b""
        while b"SyntaxError" not in shown:
            shown += os.read(ours, 4096)
        assert (b"[\x1b[33mWARNING\x1b[0m] " in shown) == coloured, shown
        assert (b"\x1b" in shown) == coloured
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_completions_and_the_manual_page_are_printed(tmp_path: Path) -> None:
    for arguments, begins in [(["completions", "bash"], "_wshost()"), (["man"], ".ie ")]:
        done = subprocess.run(
            [*program(), *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert done.stdout.startswith(begins)
        assert "thread" in done.stdout
        assert done.stderr == ""
