"""Clients of files that do not read, and files that are not what they were when they were asked for."""

import os
import socket
from pathlib import Path

import pytest
from serving import ECHO, RawClient, Server, Start, wait_until, write

GET = "GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def get(server: Server, target: str) -> bytes:
    with RawClient(server.host, server.port) as client:
        client.socket.sendall(GET.format(target).encode())
        return client.rest()


def test_clients_that_do_not_read_a_file_are_given_up(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    with (tmp_path / "large").open("wb") as large:
        large.truncate(64 << 20)
    server = start("--write-timeout", "0.5", way=way)
    get(server, "/echo_wsh.py")
    descriptors = len(server.descriptors())
    clients = [socket.create_connection((server.host, server.port)) for _ in range(20)]
    for client in clients:
        client.sendall(GET.format("/large").encode())
        # It was begun.
        assert client.recv(1) == b"H"
    wait_until(lambda: len(server.descriptors()) <= descriptors, "the end of the descriptors")
    assert server.ask("/echo", "alive") == "alive"
    for client in clients:
        client.close()


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_regular_file_is_not_there(start: Start, tmp_path: Path, kind: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    with socket.socket(socket.AF_UNIX) as unix:
        if kind == "pipe":
            os.mkfifo(tmp_path / "it")
        elif kind == "device":
            (tmp_path / "it").symlink_to("/dev/zero")
        else:
            unix.bind(str(tmp_path / "it"))
        server = start("--allow-handlers-outside-root-dir")
        assert get(server, "/it").startswith(b"HTTP/1.0 404 ")
        assert server.ask("/echo", "alive") == "alive"
