"""Sockets besides a host and a port: passed by systemd or by number, and on a path."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import ECHO, SECONDS, Output, environment, program, run, write
from websockets.sync.client import ClientConnection, connect, unix_connect

PASS_AS_SYSTEMD_DOES = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
for number, fd in enumerate(fds):
    os.dup2(fd, 3 + number, inheritable=True)
os.environ["LISTEN_FDS"] = str(len(fds))
os.environ["LISTEN_PID"] = sys.argv[2] or str(os.getpid())
os.execvp(sys.argv[3], sys.argv[3:])
"""


@contextlib.contextmanager
def serving(command: list[str], root: Path, *fds: int) -> Iterator[Output]:
    """Runs `command` on the handlers of `root` until the block ends; gives its log once it listens."""
    arguments = [*command, "-p", "0", "-H", "127.0.0.1", "-d", str(root)]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, pass_fds=fds, env=environment())
    try:
        assert process.stderr
        log = Output(process.stderr)
        log.wait_for("wshost: listening on ")
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait(SECONDS)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def port_of(opened: socket.socket) -> int:
    port: int = opened.getsockname()[1]
    return port


def echoes(client: ClientConnection) -> bool:
    with client:
        client.send("hello")
        return client.recv(SECONDS) == "hello"


def at_port(port: int) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/echo", open_timeout=SECONDS, proxy=None)


def at_path(path: Path) -> ClientConnection:
    return unix_connect(str(path), "ws://localhost/echo", open_timeout=SECONDS)


def test_a_socket_by_number(tmp_path: Path, listening: socket.socket) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    fd = listening.fileno()
    with serving([*program(), "--fd", str(fd)], tmp_path, fd) as log:
        log.wait_for(rf"listening on http://127\.0\.0\.1:{port_of(listening)}/ ")
        assert echoes(at_port(port_of(listening)))


def test_sockets_from_systemd(tmp_path: Path, listening: socket.socket) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        fds = [listening.fileno(), unix.fileno()]
        command = [sys.executable, "-c", PASS_AS_SYSTEMD_DOES, ",".join(map(str, fds)), "", *program()]
        with serving(command, tmp_path, *fds):
            assert echoes(at_port(port_of(listening)))
            assert echoes(at_path(path))


def test_sockets_from_systemd_for_another_process_are_not_ours(
    tmp_path: Path, listening: socket.socket
) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    fd = listening.fileno()
    command = [sys.executable, "-c", PASS_AS_SYSTEMD_DOES, str(fd), str(os.getpid()), *program()]
    with serving(command, tmp_path, fd) as log:
        port = int(log.wait_for(r"listening on http://127\.0\.0\.1:(\d+)/").group(1))
        assert port != port_of(listening)
        assert echoes(at_port(port))


def test_a_unix_socket(tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    path = tmp_path / "socket"
    with serving([*program(), "--unix", str(path)], tmp_path) as log:
        log.wait_for(f"listening on unix:{path} ")
        assert echoes(at_path(path))
    assert not path.exists()


def test_a_descriptor_that_does_not_listen_is_one_line(tmp_path: Path) -> None:
    done = run("--fd", "99", "-d", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("wshost: file descriptor 99: not open in this process; ")
    assert done.stderr.count("\n") == 1
