"""The handlers of `handlers/` do what they say, and their page is served.

They are ordinary handlers: all of this holds on pywebsocket, too.
"""

import hashlib
import http.client
import json
import os
import re
import urllib.request
from collections.abc import Iterator

import pytest
from serving import REPOSITORY, SECONDS, serve, talk
from websockets.exceptions import ConnectionClosed


@pytest.fixture(scope="module", params=["binary", "wheel"])
def host(request: pytest.FixtureRequest) -> Iterator[str]:
    """`localhost:PORT` of a server on `handlers/`."""
    with serve(REPOSITORY / "handlers", "-m", "handler_map.txt", way=request.param) as address:
        yield address


@pytest.mark.parametrize("resource", ["/echo", "/echo_noext", "/mirror"])
def test_echo_keeps_the_kind(host: str, resource: str) -> None:
    with talk(host, resource, subprotocols=["one", "two"]) as client:
        assert client.subprotocol == "one"
        assert bool(client.protocol.extensions) == (resource != "/echo_noext")
        for message in ["héllo", b"\x00\xff", "", b"", "x" * 70_000]:
            client.send(message)
            assert client.recv(SECONDS) == message


def test_chat_tells_all_clients(host: str) -> None:
    with talk(host, "/chat") as first:
        assert re.fullmatch(r"guest \d+ came in", first.recv(SECONDS))
        with talk(host, "/chat") as second:
            name = second.recv(SECONDS).split(" came")[0]
            assert first.recv(SECONDS) == f"{name} came in"
            second.send("hello")
            assert [first.recv(SECONDS), second.recv(SECONDS)] == [f"{name}: hello"] * 2
            first.send(b"123")
            assert second.recv(SECONDS).endswith(": (3 bytes)")
            first.recv(SECONDS)
        assert first.recv(SECONDS) == f"{name} left"


def test_clock_sends_while_it_waits_for_messages(host: str) -> None:
    with talk(host, "/time") as client:
        client.send("0.01")
        for _ in range(5):
            assert re.fullmatch(r"\d\d:\d\d:\d\d", client.recv(SECONDS))
        client.send("soon")
        while (message := client.recv(SECONDS)).count(":") != 1:
            pass
        assert message == "not a number of seconds: 'soon'"
    assert client.close_code == 1000


def test_close_gives_the_code_that_was_asked_for(host: str) -> None:
    with talk(host, "/close") as client:
        for message in ["1005", "99999 x", "no", b"4001 x"]:
            client.send(message)
            assert "send a close code" in client.recv(SECONDS)
        client.send("4001 so long")
        with pytest.raises(ConnectionClosed):
            client.recv(SECONDS)
        assert (client.close_code, client.close_reason) == (4001, "so long")


def test_close_gives_the_clients_code_back(host: str) -> None:
    with talk(host, "/close") as client:
        client.close(3001, "bye")
        assert client.protocol.close_rcvd is not None
        assert (client.protocol.close_rcvd.code, client.protocol.close_rcvd.reason) == (3001, "bye")


def test_digest_sees_large_messages_whole(host: str) -> None:
    with talk(host, "/digest") as client:
        for message, kind in [("é" * 1_000_000, "text"), (os.urandom(3_000_000), "binary")]:
            client.send(message)
            payload = message.encode() if isinstance(message, str) else message
            assert client.recv(SECONDS) == f"{kind} {len(payload)} {hashlib.sha256(payload).hexdigest()}"


def test_headers_tells_what_the_server_knows(host: str) -> None:
    with talk(host, "/headers?x=1", origin="http://a.example", subprotocols=["p"]) as client:
        assert client.response is not None
        assert client.response.headers["X-Handler"] == "headers"
        told = json.loads(client.recv(SECONDS))
        assert (told["resource"], told["origin"]) == ("/headers?x=1", "http://a.example")
        assert (told["subprotocol"], told["version"]) == ("p", 13)
        assert told["extensions"] == ["permessage-deflate"]
        assert told["client"] == "127.0.0.1"
        assert {name.lower(): value for name, value in told["headers"].items()}["host"] == host


@pytest.mark.parametrize("origin", ["http://a.example", "http://127.0.0.1", "null", None])
def test_origin_check_refuses_other_pages(host: str, origin: "str | None") -> None:
    # Refusals are HTTP/1.0, as pywebsocket's are, and the client library takes only HTTP/1.1.
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    connection = http.client.HTTPConnection(host, timeout=SECONDS)
    connection.request("GET", "/origin_check", headers=headers | ({"Origin": origin} if origin else {}))
    assert connection.getresponse().status == 403
    connection.close()


def test_origin_check_takes_its_own_page(host: str) -> None:
    with talk(host, "/origin_check", origin=f"http://{host}") as client:
        assert client.recv(SECONDS) == f"welcome, http://{host}"


def test_ping_tells_how_long_the_pong_took(host: str) -> None:
    with talk(host, "/ping") as client:
        for message in ["one", "x" * 1000, b"three"]:
            client.send(message)
            assert re.fullmatch(r"pong after \d+\.\d{3} ms", client.recv(SECONDS))


def test_the_console_and_what_it_needs_are_served(host: str) -> None:
    def get(name: str) -> str:
        with urllib.request.urlopen(f"http://{host}/{name}", timeout=SECONDS) as response:
            text: str = response.read().decode()
        assert text == (REPOSITORY / "handlers" / name).read_text()
        return text

    page = get("console.html")
    for needed in re.findall(r'(?:src|href)="([\w.]+)"', page):
        get(needed)
    resources = {f"/{path.name[: -len('_wsh.py')]}" for path in (REPOSITORY / "handlers").glob("*_wsh.py")}
    assert set(re.findall(r'option value="(/\w+)"', page)) == resources
