"""The oracle's own examples and the handlers of its own tests, unmodified."""

from __future__ import annotations

import pytest
from frames import Compressor, binary, close, ping, text
from pair import Pair, Scenario
from wire import Script, deflate, eof, goodbye, half_close, hello, receive, refused, request, send

_ORIGIN: dict[str, str | None] = {"Origin": "http://example.com"}
_EXAMPLES: dict[str, Script] = {
    "echo-text": [hello("/echo"), send(text("Grüße \U0001f600")), receive(), goodbye()],
    "echo-binary": [hello("/echo"), send(binary(bytes(range(256)))), receive(), goodbye()],
    "echo-goodbye": [hello("/echo"), send(text("Goodbye")), receive(2), send(close()), eof()],
    "echo-ping": [hello("/echo"), send(ping(b"p")), receive(), goodbye()],
    "echo-deflate": [hello("/echo", deflate()), send(Compressor().text("Hello")), receive(), goodbye()],
    "echo-half-close": [hello("/echo"), half_close(), eof()],
    "echo-empty-close": [hello("/echo"), goodbye(code=None)],
    "echo-protocol": refused("/echo", {"Sec-WebSocket-Protocol": "a"}),
    "echo-noext": [hello("/echo_noext", deflate()), send(text("x")), receive(), goodbye()],
    "close-3000": [hello("/close"), send(text("3000 own reason")), receive(), goodbye()],
    "close-1000": [hello("/close"), send(text("1000 ")), receive(), goodbye()],
    "close-1001": [hello("/close"), send(text("1001 going") + close()), eof()],
    "close-out-of-range": [hello("/close"), send(text("5000 x")), receive(), goodbye()],
    "close-pseudo": [hello("/close"), send(text("1005 x")), receive(), goodbye()],
    "close-no-number": [hello("/close"), send(text("x y")), eof()],
    "close-no-space": [hello("/close"), send(text("3000")), eof()],
    "close-long": [hello("/close"), send(text("3000 " + "r" * 124)), receive(), goodbye()],
    "close-by-client": [hello("/close"), send(close(4999, "mine")), eof()],
    "close-by-client-empty": [hello("/close"), goodbye(code=None)],
    "abort": [hello("/abort"), eof()],
    "abort-handshake": refused("/abort_handshake"),
    "internal-error": [hello("/internal_error"), receive(), goodbye()],
    "origin-good": [hello("/origin_check", _ORIGIN), eof()],
    "origin-bad": refused("/origin_check", {"Origin": "http://example.org"}),
    "origin-none": refused("/origin_check"),
    "cookie-none": [hello("/cookie"), receive(), goodbye()],
    "cookie-set": [hello("/cookie?set"), receive(), goodbye()],
    "cookie-set-http": [hello("/cookie?set_httponly"), receive(), goodbye()],
    "cookie-clear": [hello("/cookie?clear"), receive(), goodbye()],
    "hsts": [hello("/hsts"), receive(2), goodbye()],
    "bench": [hello("/bench"), send(text("0 5 message")), receive(6), goodbye()],
    "bench-wrong": [hello("/bench"), send(text("no")), eof()],
    "bench-closed": [hello("/bench"), send(close()), eof()],
    "helper-receive": [
        hello("/benchmark_helper", deflate()), send(text("receive 70000")), receive(), goodbye(),
    ],
    "helper-send": [
        hello("/benchmark_helper"), send(text("send 1") + binary(b"a" * 70000)), receive(), goodbye(),
    ],
    "helper-wrong": [hello("/benchmark_helper"), send(text("x")), eof()],
    "helper-binary": [hello("/benchmark_helper"), send(binary(b"x")), eof()],
    "fragment": refused("/echo#x"),
    "plain-get": [send(b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"), eof()],
    "version-8": refused("/echo", {"Sec-WebSocket-Version": "8"}),
}  # fmt: skip


@pytest.mark.parametrize("name", _EXAMPLES)
def test_examples(examples: Pair, name: str) -> None:
    """Each example handler, on its ways."""
    examples.check(Scenario(name, _EXAMPLES[name]))


_TESTDATA: dict[str, Script] = {
    "abort-by-user": refused("/abort_by_user"),
    "origin-good": [send(request("/origin_check", _ORIGIN) + close()), eof()],
    "origin-bad": refused("/origin_check", {"Origin": "x"}),
    "plain": [send(request("/sub/plain") + close()), eof()],
    "exception": [hello("/sub/exception_in_transfer"), eof()],
}


@pytest.mark.parametrize("name", _TESTDATA)
def test_testdata(testdata: Pair, name: str) -> None:
    """Each handler of the oracle's own tests that loads."""
    testdata.check(Scenario(name, _TESTDATA[name]))


@pytest.mark.parametrize(
    "name",
    [
        "blank",
        "sub/non_callable",
        "sub/wrong_handshake_sig",
        "sub/wrong_transfer_sig",
        "sub/no_wsh_at_the_end",
        "sub/",
    ],
)
def test_testdata_that_does_not_load(testdata: Pair, name: str) -> None:
    """What does not load is not there: the request is for a file, and there is none."""
    for transcript in testdata.run(refused(f"/{name}")):
        assert b" 404 " in transcript[0].data.split(b"\r\n")[0]
