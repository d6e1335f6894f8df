"""`--trace`: what goes over the connections of handlers, in a file."""

import base64
import json
import os
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from serving import ECHO, RawClient, Server, Start, client_frame, close_body, run, wait_until, write


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def data(record: dict[str, Any]) -> bytes:
    if "text" in record:
        return str(record["text"]).encode()
    return base64.b64decode(record["base64"])


def streams(path: Path, number: int) -> tuple[bytes, bytes]:
    """What the client and the server of a connection have sent."""
    mine = [record for record in records(path) if record["connection"] == number]
    assert [record["event"] for record in mine if record["event"] in ("open", "end")] == ["open", "end"]
    assert mine[0]["event"] == "open"
    assert mine[-1]["event"] == "end"
    times = [record["at"] for record in mine[1:]]
    assert times == sorted(times)
    sent, received = (
        b"".join(data(record) for record in mine if record["event"] == way) for way in ("in", "out")
    )
    return sent, received


def end_of(path: Path, number: int) -> str:
    return str(next(r["by"] for r in records(path) if r["connection"] == number and r["event"] == "end"))


def secured(client: RawClient) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client.socket = context.wrap_socket(client.socket)
    client._file = client.socket.makefile("rb")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What the servers are started on, beside the trace."""
    return write(tmp_path, "root/echo_wsh.py", ECHO).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.mark.parametrize("tls", [False, True])
def test_every_byte_is_recorded(start: Start, root: Path, path: Path, tls: bool) -> None:
    server = start("--trace", "../trace", *(["--tls-self-signed"] if tls else []), root=root)
    with RawClient(server.host, server.port) as client:
        if tls:
            secured(client)
        client.handshake("/echo?x=1", "Cookie: secret")
        assert client.response()[0] == 101
        frames = [(2, b"\x00\xff" * 40_000), (1, b"text"), (8, close_body(1000))]
        for opcode, payload in frames:
            client.send(opcode, payload)
            assert client.frame().payload == payload
        assert client.rest() == b""
    assert server.stop() == 0
    opening = records(path)[0]
    assert (opening["event"], opening["resource"], opening["tls"]) == ("open", "/echo?x=1", tls)
    assert opening["peer"].startswith("127.0.0.1:")
    assert opening["local"] == f"127.0.0.1:{server.port}"
    assert opening["time"].endswith("Z")
    sent, received = streams(path, 1)
    head, _, rest = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"GET /echo?x=1 HTTP/1.1\r\n")
    assert head.endswith(b"Cookie: secret")
    assert rest == b"".join(client_frame(opcode, payload) for opcode, payload in frames)
    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert rest.endswith(b"\x81\x04text\x88\x02\x03\xe8")
    assert len(rest) == 10 + 80_000 + 6 + 4
    assert end_of(path, 1) == "server"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_came_with_the_head_and_how_it_ended(start: Start, root: Path, path: Path) -> None:
    server = start("--trace", "../trace", root=root)
    with RawClient(server.host, server.port) as client:
        head = client.opening("/echo")
        client.socket.sendall(head + client_frame(1, b"early"))
        assert client.response()[0] == 101
        assert client.frame().payload == b"early"
    wait_until(lambda: not server.handler_threads(), "the end of the handler")
    assert server.stop() == 0
    assert streams(path, 1)[0] == head + client_frame(1, b"early")
    assert end_of(path, 1) == "client"
    assert [record["event"] for record in records(path)][-2:] == ["eof", "end"]


def test_connections_at_one_time_are_kept_apart_and_runs_appended(
    start: Start, root: Path, path: Path
) -> None:
    for _ in range(2):
        server = start("--trace", "../trace", root=root)
        with (
            server.talk("/echo", compression=None) as first,
            server.talk("/echo", compression=None) as second,
        ):
            for turn in range(3):
                for client, name in [(first, "first"), (second, "second")]:
                    client.send(f"{name} {turn}")
                    assert client.recv() == f"{name} {turn}"
        # Files are not recorded.
        assert server.status("/none") == 404
        assert server.stop() == 0
        both = records(path)
    assert sum(record["event"] == "open" for record in both) == 4
    half = both[: len(both) // 2]
    path.write_text("".join(json.dumps(record) + "\n" for record in half))
    for number, name in [(1, b"first"), (2, b"second")]:
        received = streams(path, number)[1].partition(b"\r\n\r\n")[2]
        assert received.count(name) == 3
        assert received.count(b"first") + received.count(b"second") == 3


def test_a_trace_that_cannot_be_opened(root: Path, path: Path) -> None:
    done = run("-p", "0", "-d", str(root), "--trace", f"{path}/trace")
    expected = f"wshost: --trace {path}/trace: No such file or directory (os error 2); check the path"
    assert (done.returncode, done.stderr) == (1, f"{expected} and its permissions\n")


@pytest.mark.parametrize("name", ["trace", "linked", "../link/trace"])
def test_a_trace_that_clients_could_fetch(root: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(root)
    (root / "linked").symlink_to(write(root, "file", ""))
    done = run("-p", "0", "-d", str(root), "--trace", name, cwd=root)
    assert done.returncode == 1
    assert done.stderr.endswith(
        ": clients could fetch it, it lies under --document-root or has a hard link that may; "
        "name a file elsewhere\n"
    )
    assert not (root / "trace").exists()


def test_a_trace_that_links_lead_below_the_documents(root: Path, tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to(root / "trace")
    done = run("-p", "0", "-d", str(root), "--trace", "nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert "/nowhere: No such file or directory" in done.stderr
    os.link(write(root, "file", ""), tmp_path / "other")
    done = run("-p", "0", "-d", str(root), "--trace", "other", cwd=tmp_path)
    assert done.returncode == 1
    assert "/other: clients could fetch it" in done.stderr
    # That is the document root once the server runs.
    with Server(root, "--trace", "/proc/self/cwd/trace", cwd=tmp_path) as server:
        server.ask("/echo")
        assert server.stop() == 0
    assert (tmp_path / "trace").exists()
    assert not (root / "trace").exists()


def test_a_full_disk_costs_the_trace_only(start: Start, root: Path) -> None:
    server = start("--trace", "/dev/full", root=root)
    for _ in range(2):
        assert server.ask("/echo", "still") == "still"
    assert server.stop() == 0
    told = [line for line in server.log.rest().splitlines() if "--trace" in line]
    assert len(told) == 1
    assert told[0].endswith(
        "--trace /dev/full: No space left on device (os error 28); nothing more is recorded"
    )
