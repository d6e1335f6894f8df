"""Opening handshakes: every header missing, wrong or odd, and every offer of an extension."""

from __future__ import annotations

import itertools

import pytest
import servers
from deviations import deviates
from frames import close, text
from pair import Pair, Scenario
from wire import KEY, Script, eof, half_close, hello, pieces, request, send

Headers = dict[str, "str | None"]

_HEADERS: dict[str, Headers] = {
    "good": {},
    "no-host": {"Host": None},
    "empty-host": {"Host": ""},
    "odd-host": {"Host": "x:y:z"},
    "no-upgrade": {"Upgrade": None},
    "upgrade-case": {"Upgrade": "WebSocket"},
    "upgrade-other": {"Upgrade": "h2c"},
    "upgrade-list": {"Upgrade": "websocket, h2c"},
    "upgrade-version": {"Upgrade": "websocket/13"},
    "upgrade-empty": {"Upgrade": ""},
    "no-connection": {"Connection": None},
    "connection-case": {"Connection": "uPGRADE"},
    "connection-list": {"Connection": "keep-alive, Upgrade"},
    "connection-list-spaces": {"Connection": " keep-alive ,\tUpgrade ,"},
    "connection-other": {"Connection": "keep-alive"},
    "connection-close": {"Connection": "close, Upgrade"},
    "connection-odd": {"Connection": "Upgrade; x"},
    "connection-empty": {"Connection": ""},
    "connection-comma": {"Connection": ",,"},
    "no-key": {"Sec-WebSocket-Key": None},
    "key-empty": {"Sec-WebSocket-Key": ""},
    "key-short": {"Sec-WebSocket-Key": KEY[:-4]},
    "key-long": {"Sec-WebSocket-Key": KEY + "AAAA"},
    "key-padding": {"Sec-WebSocket-Key": KEY[:-3] + "R=="},
    "key-no-padding": {"Sec-WebSocket-Key": KEY[:-2] + "AA"},
    "key-alphabet": {"Sec-WebSocket-Key": "-" + KEY[1:]},
    "key-spaces": {"Sec-WebSocket-Key": "  " + KEY + "  "},
    "key-two": {"Sec-WebSocket-Key": KEY + ", " + KEY},
    "key-twice": {"Sec-WebSocket-Key": KEY + "\r\nSec-WebSocket-Key: " + KEY[::-1]},
    "no-version": {"Sec-WebSocket-Version": None},
    "version-8": {"Sec-WebSocket-Version": "8"},
    "version-0": {"Sec-WebSocket-Version": "0"},
    "version-14": {"Sec-WebSocket-Version": "14"},
    "version-list": {"Sec-WebSocket-Version": "13, 8"},
    "version-text": {"Sec-WebSocket-Version": "abc"},
    "version-zero": {"Sec-WebSocket-Version": "013"},
    "version-empty": {"Sec-WebSocket-Version": ""},
    "version-twice": {"Sec-WebSocket-Version": "13\r\nSec-WebSocket-Version: 8"},
    "version-before-key": {"Sec-WebSocket-Version": "8", "Sec-WebSocket-Key": None},
    "version-before-upgrade": {"Sec-WebSocket-Version": "8", "Upgrade": "x"},
    "lower-case-names": {
        **dict.fromkeys(("Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version")),
        "host": "h", "upgrade": "websocket", "connection": "upgrade", "sec-websocket-key": KEY,
        "sec-websocket-version": "13",
    },
    "folded": {"Connection": "keep-alive,\r\n Upgrade"},
    "folded-tab": {"Upgrade": "\r\n\twebsocket"},
    "obsolete-keys": {"Sec-WebSocket-Key1": "1", "Sec-WebSocket-Key2": "2"},
    "body": {"Content-Length": "3"},
    "expect": {"Expect": "100-continue"},
    "http2-settings": {"HTTP2-Settings": "AAA", "Connection": "Upgrade, HTTP2-Settings"},
    "extensions-unknown": {"Sec-WebSocket-Extensions": "x-none, y; z=1"},
    "extensions-empty": {"Sec-WebSocket-Extensions": ""},
    "extensions-broken": {"Sec-WebSocket-Extensions": "permessage-deflate; ="},
    "extensions-quote": {"Sec-WebSocket-Extensions": 'permessage-deflate; server_max_window_bits="10"'},
    "extensions-open-quote": {"Sec-WebSocket-Extensions": 'permessage-deflate; a="b'},
    "extensions-comma": {"Sec-WebSocket-Extensions": ","},
    "extensions-twice": {
        "Sec-WebSocket-Extensions": "x-none\r\nSec-WebSocket-Extensions: permessage-deflate",
    },
    "protocol-empty": {"Sec-WebSocket-Protocol": ""},
    "protocol-comma": {"Sec-WebSocket-Protocol": ",,"},
    "protocol-broken": {"Sec-WebSocket-Protocol": "a b"},
    "protocol-quote": {"Sec-WebSocket-Protocol": '"a"'},
    "name-space": {"X-Space ": "1"},
    "name-empty": {"": "1"},
}  # fmt: skip


def _exchange(data: bytes) -> Script:
    """A request and what a client of an echo handler sends behind it, then everything until the end."""
    return [send(data + text("x") + close()), eof()]


@pytest.mark.parametrize("name", _HEADERS)
def test_headers(contract: Pair, name: str) -> None:
    """Each header on its own, on a handler that would say yes."""
    contract.check(Scenario(name, _exchange(request("/echo", _HEADERS[name]))))


@pytest.mark.parametrize("name", ["protocol-empty", "protocol-comma", "protocol-broken", "protocol-quote"])
def test_protocol_headers(contract: Pair, name: str) -> None:
    """The same on a handler that takes the first subprotocol."""
    contract.check(Scenario(name, _exchange(request("/echo?protocol", _HEADERS[name]))))


_LINES: dict[str, bytes] = {
    "post": request("/echo", method="POST"),
    "head": request("/echo", method="HEAD"),
    "options": request("/echo", method="OPTIONS"),
    "lower-method": request("/echo", method="get"),
    "http-1.0": request("/echo", version="HTTP/1.0"),
    "http-1.2": request("/echo", version="HTTP/1.2"),
    "http-2": request("/echo", version="HTTP/2.0"),
    "http-9": request("/echo", version="HTTP/0.9"),
    "no-http": request("/echo", version="XYZ"),
    "no-version": b"GET /echo\r\n\r\n",
    "plain-get": b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n",
    "plain-get-1.0": b"GET /echo HTTP/1.0\r\n\r\n",
    "plain-post": b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab",
    "query": request("/echo?a=b&c"),
    "empty-query": request("/echo?"),
    "fragment": request("/echo#f"),
    "empty-fragment": request("/echo#"),
    "query-fragment": request("/echo?a#f"),
    "absolute": request("ws://localhost/echo"),
    "absolute-port": request("ws://other:81/echo?q"),
    "absolute-secure": request("wss://localhost/echo"),
    "absolute-http": request("http://localhost/echo"),
    "absolute-fragment": request("ws://localhost/echo#f"),
    "bare-lf": request("/echo").replace(b"\r\n", b"\n"),
    "two-spaces": request(" /echo"),
    "tab": request("/echo").replace(b"GET ", b"GET\t"),
    "no-colon": request("/echo").replace(b"Host: localhost", b"nothing"),
    "percent": request("/%65cho"),
    "double-slash": request("//echo"),
    "dots": request("/x/../echo"),
    "garbage": b"\x16\x03\x01\x02\x00\x01\xfc\r\n\r\n",
    "one-word": b"GET\r\n\r\n",
    "frame-first": text("x") + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", _LINES)
def test_request_lines(contract: Pair, name: str) -> None:
    """Methods, versions, targets, and what is no request."""
    contract.check(Scenario(name, _exchange(_LINES[name])))


@pytest.mark.parametrize("size", [1, 7, 50])
def test_request_in_pieces(contract: Pair, size: int) -> None:
    """Where the request is cut does not matter, nor what stands in the last piece behind it."""
    data = request("/echo") + text("behind") + close()
    contract.check(Scenario("pieces", [pieces(data, size), eof()]))


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GE", b"GET /echo HTTP/1.1\r\nHost:"], ids=repr)
def test_unfinished_request(contract: Pair, sent: bytes) -> None:
    """A client that leaves before its request is whole is no event."""
    contract.check(Scenario("unfinished", [send(sent), half_close(), eof()]))


_PARAMETERS = (
    ("", "server_max_window_bits", "server_max_window_bits=8", "server_max_window_bits=9",
     "server_max_window_bits=15", "server_max_window_bits=16", "server_max_window_bits=7",
     "server_max_window_bits=08", "server_max_window_bits=x", 'server_max_window_bits="12"'),
    ("", "server_no_context_takeover", "server_no_context_takeover=1"),
    ("", "client_max_window_bits", "client_max_window_bits=10"),
    ("", "client_no_context_takeover=1", "unknown", "unknown=1"),
)  # fmt: skip
_OFFERS = ["; ".join(("permessage-deflate", *filter(None, row))) for row in itertools.product(*_PARAMETERS)]
_OFFERS += [
    "permessage-deflate, permessage-deflate",
    "permessage-deflate; unknown, permessage-deflate",
    "permessage-deflate; server_max_window_bits=10, permessage-deflate",
    "x-unknown, permessage-deflate; server_no_context_takeover",
    "permessage-deflate; server_max_window_bits=10; server_max_window_bits=12",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "Permessage-Deflate",
    "permessage-deflate;;",
    " permessage-deflate ; client_max_window_bits ",
    "permessage-deflate; server_max_window_bits = 10",
    "permessage-deflate=1",
    "deflate-frame",
    "x-webkit-deflate-frame",
]


@pytest.mark.parametrize("handler", ["/echo", "/echo?client_bits", "/echo?client_bits&client_takeover"])
def test_extension_offers(contract: Pair, handler: str) -> None:
    """Every combination of the parameters, with and without wishes of the handler."""
    for offer in _OFFERS:
        headers: Headers = {"Sec-WebSocket-Extensions": offer}
        contract.check(Scenario(offer, _exchange(request(handler, headers))))


@pytest.mark.parametrize("more", ["", "; client_max_window_bits", "; server_no_context_takeover"])
def test_client_no_context_takeover(contract: Pair, more: str) -> None:
    """A client may say that it will not keep its context (RFC 7692 section 7.1.1.2)."""
    deviates("client-no-context-takeover")
    offer = f"permessage-deflate; client_no_context_takeover{more}"
    reference, subject = contract.run(hello("/echo", {"Sec-WebSocket-Extensions": offer}))
    assert b"Sec-WebSocket-Extensions" not in reference[0].data
    if not servers.SELF:
        assert b"\r\nSec-WebSocket-Extensions: permessage-deflate" in subject[0].data
