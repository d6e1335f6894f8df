"""Files beside the handlers, on the same port."""

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import ECHO, KEY, SECONDS, RawClient, Server, Start, write

PAGE = "<h1>héllo</h1>\n" * 100


@pytest.fixture
def server(start: Start, tmp_path: Path, way: str) -> Server:
    write(tmp_path, "index.html", PAGE)
    write(tmp_path, "files/a b.txt", "text")
    write(tmp_path, "files/<x>.txt", "")
    write(tmp_path, "echo_wsh.py", ECHO)
    (tmp_path.parent / "secret").write_text("secret")
    return start(way=way)


@pytest.fixture
def client(server: Server) -> Iterator[http.client.HTTPConnection]:
    with contextlib.closing(http.client.HTTPConnection(server.address, timeout=SECONDS)) as connection:
        yield connection


def get(
    client: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    return response, response.read()


def test_files_and_folders(client: http.client.HTTPConnection) -> None:
    response, body = get(client, "/")
    assert (response.status, body.decode()) == (200, PAGE)
    assert response.getheader("Content-Type", "").startswith("text/html")
    assert response.getheader("Content-Length") == str(len(PAGE.encode()))
    response, body = get(client, "/files/a%20b.txt")
    assert (response.status, body) == (200, b"text")
    response, body = get(client, "/files/")
    assert response.status == 200
    assert b'href="a%20b.txt"' in body
    assert b"&lt;x&gt;.txt" in body
    response, body = get(client, "/files")
    assert (response.status, response.getheader("Location")) == (301, "/files/")
    assert get(client, "/nothing")[0].status == 404


def test_only_the_head(client: http.client.HTTPConnection) -> None:
    response, body = get(client, "/", "HEAD")
    assert (response.status, body) == (200, b"")
    assert response.getheader("Content-Length") == str(len(PAGE.encode()))


def test_a_range(client: http.client.HTTPConnection) -> None:
    response, body = get(client, "/", Range="bytes=4-8")
    assert (response.status, body) == (206, PAGE.encode()[4:9])
    assert response.getheader("Content-Range") == f"bytes 4-8/{len(PAGE.encode())}"


@pytest.mark.parametrize(
    "path", ["/../secret", "/%2e%2e/secret", "/files/../../secret", "/files/..%2f../secret"]
)
def test_nothing_outside_is_served(client: http.client.HTTPConnection, path: str) -> None:
    response, body = get(client, path)
    assert response.status in (400, 403, 404)
    assert b"secret" not in body.replace(path.encode(), b"")


def test_a_handler_is_a_later_request_of_a_connection(server: Server) -> None:
    with RawClient(server.host, server.port) as client:
        for path in ["/", "/files/", "/files/a%20b.txt"]:
            client.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            status, fields = client.response()
            assert status == 200
            client.exactly(int(fields["content-length"]))
        # The first frame may come in one piece with the opening handshake.
        client.socket.sendall(
            "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode()
            + b"\x81\x82\0\0\0\0hi"
        )
        status, fields = client.response()
        assert (status, fields["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        assert client.frame().payload == b"hi"


def test_an_idle_connection_holds_up_nobody(server: Server) -> None:
    with RawClient(server.host, server.port) as idle:
        idle.socket.sendall(b"GET / HT")
        assert server.ask("/echo", "x") == "x"


def test_the_source_of_a_handler_is_a_file_as_any(client: http.client.HTTPConnection) -> None:
    response, body = get(client, "/echo_wsh.py")
    assert (response.status, body.decode()) == (200, ECHO)
