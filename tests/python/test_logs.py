"""What the log says, in which form, and that no peer can make it say something else."""

import json
import os
import pty
import re
import socket
import subprocess
from pathlib import Path

import pytest
from serving import RawClient, Server, environment, program, talk
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


EVIL = b"\x1b[31mred\x1b[0m\x9b2J\x85\x08\x7f\r[2026-01-01 00:00:00,000] [INFO] forged: record"
FOLDED = EVIL + b"\r\n [2026-01-01 00:00:00,000] [INFO] forged: record"


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /log?" + EVIL.replace(b" ", b"%20") + b" HTTP/1.1",
        b"GET /log%0a%1b[31m HTTP/1.1",
        b"GET /log HTTP/1.1",
        b"GET " + EVIL + b" HTTP/1.1",
        b"GET /none" + EVIL.replace(b" ", b"") + b" HTTP/1.1",
        EVIL.replace(b" ", b"") + b" /log_wsh.py HTTP/1.1",
        b"GET /log HTTP/" + EVIL.replace(b" ", b""),
    ],
    ids=["query", "escaped", "fields", "words", "path", "method", "version"],
)
def test_no_part_of_a_head_can_forge_a_record(root: Path, request_line: bytes) -> None:
    fields = {
        b"Host": b"a",
        b"Upgrade": b"websocket",
        b"Connection": b"Upgrade",
        b"Sec-WebSocket-Version": b"13",
        b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
        b"Origin": FOLDED,
        b"User-Agent": FOLDED,
        b"X-" + EVIL.replace(b" ", b""): FOLDED,
    }
    head = b"".join(b"\r\n" + name + b": " + value for name, value in fields.items())
    requests = [head]
    for name in (b"Upgrade", b"Connection", b"Sec-WebSocket-Version", b"Sec-WebSocket-Key"):
        requests.append(head.replace(fields[name], FOLDED, 1))
    requests += [
        head + b"\r\nSec-WebSocket-" + name + b": " + FOLDED for name in (b"Protocol", b"Extensions")
    ]
    with Server(root, "--log-level", "debug") as server:
        for fields_sent in requests:
            with RawClient(server.host, server.port) as client:
                client.socket.sendall(request_line + fields_sent + b"\r\n\r\n")
                client.socket.shutdown(socket.SHUT_WR)
                client.rest()
        assert server.stop() == 0
        text = server.log.rest()
    lines = [line for line in text.split("\n") if not line.startswith("wshost: listening")]
    assert len(lines) > len(requests)
    assert all(line == "" or line.startswith("  ") or re.match(RECORD, line) for line in lines), text
    assert "\n[2026-01-01" not in text
    assert not re.search(r"[^\n\t\x20-\x7e\xa0-\uffff]", text), repr(text)


def test_json_is_one_object_a_line(root: Path) -> None:
    log = root / "ws.log"
    with Server(root, "-l", str(log), "--log-format", "json", "--log-level", "debug") as server:
        say(server, FORGED)
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
