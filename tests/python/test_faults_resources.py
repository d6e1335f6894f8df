"""No descriptors, threads or room on the disk: refused with a line in the log, and well again by itself."""

import contextlib
import os
import re
import resource
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import ECHO, SECONDS, RawClient, Server, Start, client_frame, handler, program, wait_until, write

GRACE = ("--grace", "0.3")

prlimit = getattr(resource, "prlimit", None)
needs_prlimit = pytest.mark.skipif(prlimit is None, reason="only Linux limits other processes")


@contextlib.contextmanager
def limited(server: Server, what: int, most: int) -> Iterator[None]:
    """Inside, the server has at most so much of a resource."""
    assert prlimit is not None
    before = prlimit(server.process.pid, what)
    prlimit(server.process.pid, what, (most, before[1]))
    try:
        yield
    finally:
        if server.process.poll() is None:
            prlimit(server.process.pid, what, before)


def echoes(client: RawClient) -> bool:
    client.send(1, b"alive")
    return client.frame().payload == b"alive"


@needs_prlimit
@pytest.mark.parametrize("stops", [False, True], ids=["recovers", "stops"])
def test_no_descriptors(start: Start, tmp_path: Path, way: str, stops: bool) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "file.txt", "served")
    server = start(*GRACE, "--log-level", "info", way=way)
    with server.raw("/echo") as kept, contextlib.ExitStack() as waiting:
        with limited(server, resource.RLIMIT_NOFILE, len(server.descriptors()) + 3):
            others = [
                waiting.enter_context(socket.create_connection((server.host, server.port), SECONDS))
                for _ in range(20)
            ]
            server.log.wait_for("Cannot accept a connection: Too many open files")
            assert echoes(kept)
            # The log does not fill up.
            assert server.log.text.count("Too many open files") < 10
            if stops:
                assert server.stop() == 0
                return
        for other in others:
            other.close()
        assert echoes(kept)
        # Well again, without help.
        assert server.ask("/echo", "new") == "new"
        assert server.status("/file.txt") == 200
        server.log.wait_for("Accepting connections again")
    assert server.stop() == 0
    assert "panicked" not in server.log.rest()


@needs_prlimit
@pytest.mark.parametrize("stops", [False, True], ids=["recovers", "stops"])
def test_no_threads(start: Start, tmp_path: Path, way: str, stops: bool) -> None:
    """A limit on addresses: no room for a thread's stack is the same EAGAIN, and it holds for root, too."""
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(*GRACE, way=way)
    with server.raw("/echo") as kept, contextlib.ExitStack() as others:
        assert echoes(kept)
        with limited(server, resource.RLIMIT_AS, server.memory("VmSize") + (12 << 20)):

            def is_refused() -> bool:
                other = others.enter_context(RawClient(server.host, server.port))
                other.handshake("/echo")
                return other.socket.recv(1, socket.MSG_PEEK) == b""

            wait_until(is_refused, "a connection without a thread")
            server.log.wait_for("Cannot start a handler thread for '?\"?/echo")
            assert echoes(kept)
            if stops:
                assert server.stop() == 0
                return
        assert echoes(kept)
        assert server.ask("/echo", "new") == "new"
    assert server.stop() == 0
    assert "panicked" not in server.log.rest()


RAISES = handler("raise ValueError('x' * 1000)")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("log", ["file", "stderr"])
def test_no_room_for_the_log(start: Start, tmp_path: Path, way: str, log: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "raises_wsh.py", RAISES)
    options = (*GRACE, "--log-level", "debug")
    if log == "file":
        server = start(*options, "--log-file", "/dev/full", way=way)
    else:
        # A shell of its own: the process writes to a device that is full.
        inner = " ".join(program(way))
        server = start(*options, command=["sh", "-c", f'exec {inner} "$@" 2>/dev/full', "sh"], way=way)
    for _ in range(20):
        with server.raw("/raises") as client:
            assert client.rest() == b""
        assert server.ask("/echo", "alive") == "alive"
    assert server.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if mounted.returncode:
        pytest.skip(f"a full disk takes a file system of its own: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_log_goes_on_when_the_disk_has_room_again(start: Start, tmp_path: Path, small_disk: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "raises_wsh.py", RAISES)
    log = small_disk / "log"
    fill = small_disk / "fill"
    server = start(*GRACE, "--log-file", str(log))
    # A part of a block.
    with server.raw("/raises") as client:
        assert client.rest() == b""
    wait_until(lambda: log.stat().st_size, "a record before")
    with contextlib.suppress(OSError), open(fill, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    for _ in range(30):
        with server.raw("/raises") as client:
            assert client.rest() == b""
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "more").write_bytes(b"x" * 65536)
    (small_disk / "more").unlink()
    fill.unlink()
    size = log.stat().st_size
    with server.raw("/raises") as client:
        assert client.rest() == b""
    pattern = re.compile(r"^\[.*\[ERROR\] .*Exception in processing", re.M)
    wait_until(lambda: pattern.search(log.read_text()[size:]), "a record after the disk had room")
    # The last one from before has no end; the next one has a line of its own.
    text = log.read_text()
    assert text[size - 1] != "\n"
    assert text[size:].startswith("\n[")
    assert os.path.getsize(log) < 65536
    assert server.ask("/echo", "alive") == "alive"
    assert server.stop() == 0


def test_frames_go_on_through_a_full_log(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(*GRACE, "--log-level", "fine", "--log-file", "/dev/full")
    with server.raw("/echo") as client:
        for number in range(100):
            client.socket.sendall(client_frame(1, str(number).encode()))
            assert client.frame().payload == str(number).encode()
    assert server.stop() == 0
