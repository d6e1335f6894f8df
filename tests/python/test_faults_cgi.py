"""CGI scripts: with the server, their client or a limit they end, with all that they have started."""

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import SECONDS, RawClient, Server, Start, wait_until, write

CGI = ("-x", "/cgi")


@pytest.fixture
def documents() -> Iterator[Path]:
    """A folder that scripts can reach, which run as nobody when the tests run as root."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def script(root: Path, name: str, lines: str) -> None:
    """A script that users such as nobody may run."""
    root.chmod(0o755)
    path = write(root, f"cgi/{name}", "#!/bin/sh\n" + lines)
    path.parent.chmod(0o755)
    path.chmod(0o755)


def held(root: Path) -> int:
    """The reading end of a pipe that scripts open as `held`; it ends when the last of them has ended."""
    os.mkfifo(root / "held")
    (root / "held").chmod(0o666)
    return os.open(root / "held", os.O_RDONLY | os.O_NONBLOCK)


def has_ended(pipe: int) -> bool:
    """Whether nobody has the pipe open any more."""
    try:
        return not os.read(pipe, 1)
    except BlockingIOError:
        return False


def running(stack: contextlib.ExitStack, server: Server, name: str, count: int) -> None:
    """Scripts that run and have said so."""
    for _ in range(count):
        client = stack.enter_context(RawClient(server.host, server.port))
        client.socket.sendall(f"GET /cgi/{name} HTTP/1.0\r\n\r\n".encode())
        while (line := client.line()) != b"up\n":
            assert line, server.log.text


@pytest.mark.parametrize("how", ["stop", "second signal", "ignored"])
def test_no_script_outlives_the_server(start: Start, documents: Path, way: str, how: str) -> None:
    # The second one does not end when it is asked to.
    script(documents, "a", "exec 3>held; sleep 1000 & printf 'A: b\\n\\nup\\n'; sleep 1000\n")
    script(
        documents,
        "ignored",
        "trap '' TERM; exec 3>held; printf 'A: b\\n\\nup\\n'; while :; do sleep 1; done\n",
    )
    pipe = held(documents)
    server = start(*CGI, "--grace", "600" if how == "second signal" else "0.1", way=way, root=documents)
    with contextlib.ExitStack() as stack:
        running(stack, server, "ignored" if how == "ignored" else "a", 20)
        if how == "second signal":
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not listens(server), "the end of listening")
            assert server.stop() == 143
        else:
            assert server.stop() == 0
        wait_until(lambda: has_ended(pipe), "the end of all scripts")
    os.close(pipe)


def listens(server: Server) -> bool:
    with contextlib.suppress(ConnectionError):
        socket.create_connection((server.host, server.port), SECONDS).close()
        return True
    return False


def test_what_a_script_has_left_behind_ends_with_the_server(start: Start, documents: Path) -> None:
    script(documents, "leaves", "exec 3>held; sleep 1000 & printf 'A: b\\n\\nup\\n'\n")
    pipe = held(documents)
    server = start(*CGI, root=documents)
    with contextlib.ExitStack() as stack:
        running(stack, server, "leaves", 3)
    assert not has_ended(pipe)
    assert server.stop() == 0
    wait_until(lambda: has_ended(pipe), "the end of what was left behind")
    os.close(pipe)


def test_a_client_that_does_not_read_ends_its_script(start: Start, documents: Path) -> None:
    script(documents, "yes", "exec 3>held; echo; exec yes\n")
    pipe = held(documents)
    server = start(*CGI, "--write-timeout", "0.5", root=documents)
    with RawClient(server.host, server.port) as client:
        client.socket.sendall(b"GET /cgi/yes HTTP/1.0\r\n\r\n")
        server.log.wait_for("CGI script .*yes.* was ended: its client does not take the output")
        wait_until(lambda: has_ended(pipe), "the end of the script")
    os.close(pipe)


def test_no_more_scripts_run_than_there_are_places(start: Start, documents: Path) -> None:
    script(documents, "a", "printf 'A: b\\n\\nup\\n'; exec sleep 1000\n")
    script(documents, "short", "printf 'A: b\\n\\nshort\\n'\n")
    write(documents, "file", "served")
    server = start(*CGI, root=documents)

    def status(path: str) -> int:
        with RawClient(server.host, server.port) as client:
            client.socket.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return client.response()[0]

    with contextlib.ExitStack() as stack:
        running(stack, server, "a", 256)
        # It does not wait until one of them is given up.
        assert status("/cgi/short") == 503
        assert status("/file") == 200
    wait_until(lambda: status("/cgi/short") == 200, "a place")
    server.log.wait_for("CGI script .*short.* was not run: 256 scripts are running")
    assert server.stop() == 0


def test_a_body_that_trickles_ends_its_script(start: Start, documents: Path) -> None:
    script(documents, "cat", "exec 3>held; exec cat\n")
    pipe = held(documents)
    server = start(*CGI, "--head-timeout", "0.5", root=documents)
    with RawClient(server.host, server.port) as client:
        client.socket.sendall(b"POST /cgi/cat HTTP/1.0\r\nContent-Length: 1000000\r\n\r\n")
        client.socket.settimeout(0.05)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while not answer:
                client.socket.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    answer = client.socket.recv(100)
        assert answer.startswith(b"HTTP/1.0 408 ")
        wait_until(lambda: has_ended(pipe), "the end of the script")
    os.close(pipe)
