"""`wshost replay` on files that are no trace, or a hostile one: one line, exit 1, bounded memory and time."""

import json
import os
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest
from serving import ECHO, SECONDS, Start, environment, program, write

OPENED = {"connection": 1, "event": "open", "time": "2026-11-27T00:00:00Z", "resource": "/echo"}
REQUEST = (
    "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def line(**fields: Any) -> str:
    return json.dumps({"connection": 1, **fields}) + "\n"


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))


def replay(path: Path, port: int, *options: str) -> "subprocess.CompletedProcess[str]":
    """Replays with a gigabyte of addresses, and waits for a silent file or server for half a second."""
    return subprocess.run(
        [*program(), "replay", str(path), f"ws://127.0.0.1:{port}", "--timeout", "0.5", *options],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        preexec_fn=limited,
    )


def refused(path: Path, *options: str, port: int = 9) -> str:
    ended = replay(path, port, *options)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("wshost: replay"), ended.stderr
    return ended.stderr


def opened(**changes: Any) -> str:
    return line(**{**OPENED, **changes})


FAR = opened(time="9999-12-31T23:59:59Z")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "junk\n",
        "\0" * 100 + "\n",
        "[]\n",
        "[" * 100_000 + "\n",
        '{"a":' * 100_000 + "\n",
        opened(time="never"),
        opened(connection=-1),
        opened(connection=2**64),
        opened(resource=7),
        FAR + line(event="in", at=1, text="x"),
        FAR + line(event="in", at=999999999, text="x"),
        *(
            opened() + line(event="in", at=at, text="x")
            for at in (-1, 1e9, 1e308, float("inf"), float("nan"))
        ),
        opened() + '{"connection":1,"event":"in","at":1e400,"text":"x"}\n',
        opened() + '{"connection":1,"event":"in","at":0,"text":"\\ud800"}\n',
        opened() + line(event="in", at=0, base64="!"),
        opened() + line(event="in", at=0, base64="aGk=", text="x"),
        line(event="end", at=0, by="client") + opened(),
        opened() + line(connection=2, event="in", at=0, text="x"),
    ],
    ids=lambda text: repr(text[-40:]),
)
def test_no_trace(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    refused(path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(bytes(range(256)) * 100)
    refused(path)


def test_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with path.open("w") as file:
        file.write(opened() + '{"connection":1,"event":"in","at":0,"base64":"')
        file.write("A" * (400 << 20))
        file.write('"}\n')
    assert "line 2 is longer than" in refused(path)
    assert "line 1 is longer than" in refused(Path("/dev/zero"))


def test_a_pipe_that_stays_silent(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    try:
        assert "nothing comes for 0.5 s" in refused(path)
    finally:
        os.close(writer)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no connection" in refused(tmp_path / "pipe")
    refused(tmp_path)
    refused(tmp_path / "missing")


def test_a_pause_that_nobody_waits_for(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    path = tmp_path / "trace"
    path.write_text(opened() + line(event="in", at=0, text=REQUEST) + line(event="eof", at=9e8))
    server = start()
    assert "a pause of 900000000 s" in refused(path, "--timing", port=server.port)
    # Without `--timing` it does not count.
    assert replay(path, server.port).stderr == ""


def test_nothing_reaches_the_terminal_as_a_command(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    path = tmp_path / "trace"
    evil = "\x1b]0;owned\x07\x9b31m\u202e\r\n1 /: ok"
    answer = f"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-{evil[:9]}\u202e: \x1b[2J\r\n\r\n"
    path.write_text(
        opened(resource=f"/echo{evil}")
        + line(event="in", at=0, text=REQUEST)
        + line(event="out", at=0, text=answer)
        + line(event="end", at=1, by="client")
    )
    ended = replay(path, start().port)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert len(ended.stdout.splitlines()) == 2
    assert "field sec-websocket-" in ended.stdout
    assert ended.stdout.replace("\n", "").isprintable(), ended.stdout
