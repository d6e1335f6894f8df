"""Names that clients make up are not kept for ever. Python 3.12 and newer keep every interned string so."""

import json
from pathlib import Path
from typing import Any

import pytest
from serving import KEY, RawClient, Server, Start, handler, write

# A string that is not interned yet is interned by `sys.intern`, which then gives that very object.
TELLS = handler(
    """
    def is_interned(text):
        copy = "".join(list(text))
        return len(text) > 1 and sys.intern(copy) is not copy

    request.ws_stream.receive_message()
    told = {name: is_interned(name) for name in NAMES}
    request.ws_stream.send_message(json.dumps(told))
    """,
    handshake="""
    if request.ws_requested_protocols:
        request.ws_protocol = request.ws_requested_protocols[0]
    # As handlers ask.
    request.headers_in.get(request.headers_in.keys()[0])
    NAMES[:] = json.loads(request.headers_in["X-Names"]) if "X-Names" in request.headers_in else NAMES
    """,
    before="import json, sys\nNAMES = []\n",
)


def requests(word: str) -> dict[str, bytes]:
    """A request for each place that a client can put a name; the names, and what is sent."""
    handshake = [
        "Host: a",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
    ]

    def head(line: str, *fields: str) -> bytes:
        return "\r\n".join([line, *handshake, *fields, "", ""]).encode("latin-1")

    opening = "GET /a HTTP/1.1"
    extension = f"{word}Extension; {word}Parameter={word}Worth"
    return {
        f"{word}Field": head(opening, f"{word}Field: x"),
        f"{word}Value": head(opening, f"Y: {word}Value"),
        f"{word}METHOD": head(f"{word}METHOD /a HTTP/1.1"),
        f"HTTP/1.{word.count('x')}7": head(f"GET /a HTTP/1.{word.count('x')}7"),
        f"/a?{word}Query": head(f"GET /a?{word}Query HTTP/1.1"),
        f"/{word}Path": head(f"GET /{word}Path HTTP/1.1"),
        f"{word}Protocol": head(opening, f"Sec-WebSocket-Protocol: {word}Protocol, {word}Second"),
        f"{word}Second": b"",
        f"{word}Extension": head(opening, f"Sec-WebSocket-Extensions: {extension}"),
        f"{word}Parameter": b"",
        f"{word}Worth": b"",
        f"{word}Cookie": head(opening, f"Cookie: {word}Cookie={word}Crumb"),
        f"{word}Crumb": b"",
    }


def send(server: Server, head: bytes) -> None:
    """Sends a request and waits for the response."""
    with RawClient(server.host, server.port) as client:
        client.socket.sendall(head)
        client.response()


@pytest.mark.parametrize("level", ["warn", "fine"])
def test_what_a_client_sends_is_not_interned(start: Start, tmp_path: Path, way: str, level: str) -> None:
    write(tmp_path, "a_wsh.py", TELLS)
    server = start("--log-level", level, way=way)
    names = requests("Zyx")
    for head in filter(None, names.values()):
        send(server, head)
    asked = [*names, "Sec-WebSocket-Key"]
    with server.raw("/a", f"X-Names: {json.dumps(asked)}") as client:
        client.send(1, b"tell")
        told: dict[str, Any] = json.loads(client.frame().payload)
    assert told == {**dict.fromkeys(names, False), "Sec-WebSocket-Key": True}


def test_names_take_no_memory(start: Start, tmp_path: Path, way: str) -> None:
    """Some 50 MiB of them."""
    write(tmp_path, "a_wsh.py", TELLS)
    server = start(way=way)

    def connect(number: int, count: int) -> None:
        fields = [f"X-{number}-{index}-{'y' * 500}: z" for index in range(count)]
        with server.raw("/a", *fields) as client:
            client.send(8)
            client.rest()

    for number in range(20):
        connect(number, 90)
    before = server.memory()
    for number in range(20, 1200):
        connect(number, 90)
    assert server.memory() - before < 16 << 20
