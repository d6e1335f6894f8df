"""Clients of the status page that keep it waiting, whoever they are: they need no token for that."""

import contextlib
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from serving import ECHO, KEY, SECONDS, Server, Start, wait_until, write

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


UPGRADE = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
]


def test_a_page_that_says_much_is_not_listened_to(start: Start, tmp_path: Path) -> None:
    server = start("--status", "127.0.0.1:0")
    before = sockets(server)
    with socket.create_connection(port(server), SECONDS) as client, contextlib.suppress(ConnectionError):
        client.sendall(request(server, "/live", *UPGRADE))
        # The announcement of a message of 64 KiB is enough.
        client.sendall(b"\x82\xff" + (64 << 10).to_bytes(8, "big") + b"\0\0\0\0")
        while client.recv(1 << 16):
            pass
    wait_until(lambda: sockets(server) == before, "the end of its connection")


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
