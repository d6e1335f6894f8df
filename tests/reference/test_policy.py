"""What is asked of a request first: the host and port of its target, and basic authentication."""

from __future__ import annotations

from pathlib import Path

import pytest
from frames import close, text
from pair import Pair, Pairs, Scenario
from servers import HANDLERS, Tree
from wire import Script, eof, hello, pieces, request, send

_TARGETS = [
    "/echo",
    "ws://a.example/echo",
    "ws://a.example:80/echo",
    "ws://a.example:8080/echo",
    "ws://a.example:8080/echo?q",
    "ws://A.Example:8080/echo",
    "ws://user@a.example:8080/echo",
    "ws://a.example.:8080/echo",
    "ws://b.example:8080/echo",
    "ws://b.example/echo",
    "ws://[::1]:8080/echo",
    "ws://a.example:8080/none",
    "ws://a.example:8080/echo#f",
    "ws://a.example:x/echo",
    "ws://a.example:/echo",
    "ws:///echo",
    "ws://",
    "wss://a.example/echo",
    "wss://a.example:443/echo",
    "wss://a.example:8080/echo",
    "WS://a.example:8080/echo",
    "http://a.example:8080/echo",
    "//a.example:8080/echo",
]

_POLICIES = {
    "host": ("-V", "a.example"),
    "port": ("-P", "8080"),
    "port of wss": ("-P", "443"),
    "both": ("-V", "a.example", "-P", "8080"),
    "host in capitals": ("-V", "A.Example"),
    "address": ("-V", "::1"),
}


def _script(data: bytes) -> Script:
    return [send(data), eof()]


@pytest.fixture
def policed(pairs: Pairs, documents: Path, request: pytest.FixtureRequest) -> Pair:
    """Both servers with a policy."""
    return pairs(Tree(HANDLERS / "contract", documents, _POLICIES[request.param]))


@pytest.mark.parametrize("target", _TARGETS)
@pytest.mark.parametrize("policed", _POLICIES, indirect=True)
def test_hosts_and_ports(policed: Pair, target: str) -> None:
    """What another site is meant by is a file, and mostly none."""
    policed.check(Scenario(target, _script(request(target) + text("x") + close())))


_CREDENTIALS: dict[str, str | None] = {
    "none": None,
    "empty": "",
    "right": "Basic bWU6c2VjcmV0",
    "spaces": "  Basic bWU6c2VjcmV0  ",
    "two spaces": "Basic  bWU6c2VjcmV0",
    "case of the scheme": "basic bWU6c2VjcmV0",
    "case of the value": "Basic bWU6c2VjcmV0".swapcase(),
    "shorter": "Basic bWU6c2VjcmV",
    "longer": "Basic bWU6c2VjcmV0IA==",
    "last byte": "Basic bWU6c2VjcmV1",
    "bearer": "Bearer bWU6c2VjcmV0",
    "not base64": "Basic me:secret",
    "first of two": "Basic bWU6c2VjcmV0\r\nAuthorization: Basic eDp5",
    "second of two": "Basic eDp5\r\nAuthorization: Basic bWU6c2VjcmV0",
    "not ASCII": "Basic \xe9",
}

_LINES = {
    "handler": ("/echo", "GET", "HTTP/1.1"),
    "none": ("/none", "GET", "HTTP/1.1"),
    "method": ("/echo", "BREW", "HTTP/1.1"),
    "post": ("/echo", "POST", "HTTP/1.1"),
    "head": ("/none", "HEAD", "HTTP/1.1"),
    "fragment": ("/echo#f", "GET", "HTTP/1.1"),
    "host": ("ws://b.example/echo", "GET", "HTTP/1.1"),
    "invalid": ("ws://b.example:x/echo", "GET", "HTTP/1.1"),
    "outside": ("/../../etc/passwd", "GET", "HTTP/1.1"),
    "1.0": ("/echo", "GET", "HTTP/1.0"),
    "2.0": ("/echo", "GET", "HTTP/2.0"),
}


@pytest.fixture(scope="module")
def guarded(pairs: Pairs, documents: Path) -> Pair:
    """Both servers with basic authentication."""
    options = ("--basic-auth", "--basic-auth-credential", "me:secret", "-V", "a.example")
    return pairs(Tree(HANDLERS / "contract", documents, options))


@pytest.mark.parametrize("name", _CREDENTIALS)
def test_credentials(guarded: Pair, name: str) -> None:
    """The whole value counts, byte for byte, and the first one."""
    headers = {"Authorization": _CREDENTIALS[name]}
    guarded.check(Scenario(name, _script(request("/echo", headers) + text("x") + close())))


@pytest.mark.parametrize("name", _LINES)
@pytest.mark.parametrize("credential", ["none", "last byte"])
def test_nothing_is_looked_at_before(guarded: Pair, name: str, credential: str) -> None:
    """Neither the target nor the method: each gets the same 401, but for what is no request at all."""
    target, method, version = _LINES[name]
    headers = {"Authorization": _CREDENTIALS[credential]}
    data = request(target, headers, method=method, version=version)
    guarded.check(Scenario(name, _script(data)))


@pytest.mark.parametrize(
    "data", [b"GET /echo\r\n\r\n", b"nonsense\r\n\r\n", b"GET /echo HTTP/1.1\r\nno colon\r\n\r\n"]
)
def test_what_is_no_request(guarded: Pair, data: bytes) -> None:
    """It has no credential to look at."""
    guarded.check(Scenario(repr(data), _script(data)))


def test_a_credential_in_pieces(guarded: Pair) -> None:
    headers = {"Authorization": _CREDENTIALS["right"]}
    guarded.check(Scenario("pieces", [pieces(request("/echo", headers) + close(), 1), eof()]))
    guarded.check(Scenario("open", [*hello("/echo", headers), send(close()), eof()]))
