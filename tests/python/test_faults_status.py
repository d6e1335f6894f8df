"""Clients of the status page that keep it waiting, whoever they are: they need no token for that."""

import contextlib
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from serving import ECHO, SECONDS, Server, Start, wait_until, write

MOST = 64
"""How many connections the port of the page has at once."""


def port(server: Server) -> tuple[str, int]:
    """Where the page is."""
    url = server.log.wait_for(r"status page on (\S+)").group(1)
    place = urlsplit(url)
    assert place.port is not None
    return "127.0.0.1", place.port


def request(server: Server, path: str, *fields: str) -> bytes:
    """A request of somebody who may look."""
    host, number = port(server)
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}:{number}", *fields, "", ""]).encode()


def answers(server: Server) -> bool:
    """Whether the page answers."""
    with socket.create_connection(port(server), SECONDS) as client:
        client.sendall(request(server, "/api", "Connection: close"))
        return client.recv(100).startswith(b"HTTP/1.1 200 ")


def sockets(server: Server) -> int:
    """How many sockets the server has."""
    return sum(target.startswith("socket:") for target in server.descriptors())


@pytest.mark.parametrize("sent", [b"", b"GET /api HT", b"GET /api HTTP/1.1\r\nHost: a\r\n"])
def test_silent_clients_give_their_places_back(start: Start, tmp_path: Path, sent: bytes) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--status", "127.0.0.1:0", "--head-timeout", "0.5")
    before = sockets(server)
    with contextlib.ExitStack() as clients:
        for _ in range(3 * MOST):
            client = clients.enter_context(socket.create_connection(port(server), SECONDS))
            client.sendall(sent)
        wait_until(lambda: sockets(server) > before, "the first of them")
        assert sockets(server) <= before + MOST
        assert server.ask("/echo") == "?"
        assert answers(server)


def test_a_client_that_asks_no_more_is_let_go(start: Start, tmp_path: Path) -> None:
    server = start("--status", "127.0.0.1:0", "--head-timeout", "0.5")
    with socket.create_connection(port(server), SECONDS) as client:
        client.sendall(request(server, "/metrics"))
        data = b""
        while piece := client.recv(1 << 16):
            data += piece
        assert data.startswith(b"HTTP/1.1 200 ")


def test_a_head_without_end(start: Start, tmp_path: Path) -> None:
    server = start("--status", "127.0.0.1:0", "--head-timeout", "600")
    with socket.create_connection(port(server), SECONDS) as client, contextlib.suppress(ConnectionError):
        client.sendall(b"GET /api HTTP/1.1\r\n")
        for _ in range(100):
            client.sendall(b"A: " + b"a" * 1000 + b"\r\n")
        while client.recv(1 << 16):
            pass
    assert answers(server)


def live(server: Server, *fields: str) -> socket.socket:
    """A page that is open: it has got something."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.settimeout(SECONDS)
    client.connect(port(server))
    client.sendall(request(server, "/live", *fields))
    assert client.recv(13) == b"HTTP/1.1 200 "
    return client


def test_a_page_that_says_much_is_not_listened_to(start: Start, tmp_path: Path) -> None:
    server = start("--status", "127.0.0.1:0")
    before = sockets(server)
    with live(server) as client:
        client.setblocking(False)

        def is_full() -> bool:
            try:
                client.send(b"x" * (1 << 20))
            except BlockingIOError:
                return True
            return False

        # What nobody reads fills the buffers.
        wait_until(is_full, "the end of its listening")
        assert answers(server)
    wait_until(lambda: sockets(server) == before, "the end of its connection")


def test_an_open_page_has_a_place_until_it_goes(start: Start, tmp_path: Path) -> None:
    server = start("--status", "127.0.0.1:0")
    before = sockets(server)
    with contextlib.ExitStack() as pages:
        for _ in range(MOST):
            pages.enter_context(live(server))
        with socket.create_connection(port(server), SECONDS) as more:
            more.sendall(request(server, "/api", "Connection: close"))
            # Time enough to answer it.
            assert server.status("/none") == 404
            more.setblocking(False)
            with pytest.raises(BlockingIOError):
                more.recv(1)
            more.settimeout(SECONDS)
            pages.close()
            assert more.recv(13) == b"HTTP/1.1 200 "
    wait_until(lambda: sockets(server) == before, "the end of the pages")


def test_a_page_that_does_not_read_is_given_up(start: Start, tmp_path: Path) -> None:
    # Reports of some MB, so that buffers are full in seconds.
    write(tmp_path, "broken_wsh.py", "raise RuntimeError('x' * (4 << 20))\n")
    server = start("--status", "127.0.0.1:0", "--write-timeout", "0.5")
    before = sockets(server)
    with live(server):
        wait_until(lambda: sockets(server) == before, "the end of its connection")


def test_a_page_that_does_not_read_holds_up_no_stop(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "broken_wsh.py", "raise RuntimeError('x' * (4 << 20))\n")
    server = start("--status", "127.0.0.1:0", "--write-timeout", "600")
    with live(server):
        assert server.stop() == 0


def test_clients_that_do_not_read_give_their_places_back(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--status", "127.0.0.1:0", "--write-timeout", "0.5")
    with contextlib.ExitStack() as clients:
        for _ in range(MOST):
            client = clients.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(port(server))
            # More than fits into all buffers.
            client.sendall(request(server, "/status.js") * 1000)
        assert answers(server)
