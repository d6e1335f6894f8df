from collections.abc import Callable

from websockets.sync.client import ClientConnection

import wshost


def test_greets(wshost_client: Callable[..., ClientConnection]) -> None:
    client = wshost_client("/greet")
    client.send("Ada")
    assert client.recv(timeout=10) == "Hello, Ada!"


def test_takes_the_first_subprotocol(wshost_client: Callable[..., ClientConnection]) -> None:
    client = wshost_client("/greet", subprotocols=["v2", "v1"])
    assert client.subprotocol == "v2"


def test_says_what_it_does(wshost_server: wshost.Server) -> None:
    assert "listening on" in wshost_server.log
