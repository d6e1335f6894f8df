"""What handlers find: the attributes of each object in each of the three functions, the outcome of calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import servers
from deviations import deviates
from frames import RSV1, TEXT, binary, close, frame, more, ping, pong, text
from pair import Pair, Pairs, Scenario
from servers import HANDLERS, Tree
from wire import (
    Event,
    Script,
    Transcript,
    eof,
    goodbye,
    half_close,
    head,
    hello,
    receive,
    refused,
    request,
    send,
)

_HEADERS: dict[str, str | None] = {
    "Origin": "http://example.com",
    "Sec-WebSocket-Protocol": "one, two",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits, x-unknown; a=b",
    "Cookie": "a=b; c=d",
    "X-Twice": "1\r\nX-Twice: 2",
    "x-empty": "",
    "X-Spaces": "  in between  ",
    "X-Latin": "caf\xe9",
    "X-Fold": "first\r\n second",
}


def _json(transcript: Transcript, index: int) -> Any:
    """The report that event `index` holds."""
    return json.loads(transcript[index].data)


def _differences(reference: Any, subject: Any, path: str = "") -> list[str]:
    """Where two reports differ, one line each."""
    if isinstance(reference, dict) and isinstance(subject, dict):
        names = sorted({*reference, *subject})
        return [
            line
            for name in names
            for line in _differences(
                reference.get(name, "absent"), subject.get(name, "absent"), f"{path}/{name}"
            )
        ]
    return [] if reference == subject else [f"{path}: reference {reference!r}, wshost {subject!r}"]


def _compare(pair: Pair, script: Script, index: int) -> Any:
    """Both reports must be equal; returns the reference's."""
    reference, subject = pair.run(script)
    expected = _json(reference, index)
    try:
        found = _json(subject, index)
    except (IndexError, ValueError):
        pytest.fail("wshost gave no report:\n" + "\n".join(map(str, subject)))
    lines = _differences(expected, found)
    assert not lines, "\n".join(lines)
    return expected


@pytest.mark.parametrize("offers", [_HEADERS, {}], ids=["offers", "bare"])
@pytest.mark.parametrize("function", ["handshake", "transfer", "stream"])
def test_objects(contract: Pair, function: str, offers: dict[str, str | None]) -> None:
    """Every attribute of `request`, `connection`, `ws_stream` and `headers_in`, with its value or kind."""
    report = _compare(contract, [hello(f"/introspect?{function}", offers), head()], 1)
    if function != "stream":
        assert report["request"]["ws_stream"] == ("missing" if function == "handshake" else "object")
        assert report["headers"]["missing item"] == "None"


def test_objects_in_passive_handler(contract: Pair) -> None:
    """The same request arrives in the third function."""
    script = [*hello("/introspect?passive", _HEADERS), send(close(4000, "why")), head()]
    report = _compare(contract, script, 1)
    assert report["same request"] is True
    assert report["request"]["ws_close_code"] == "4000"


def test_addresses(pairs: Pairs, documents: Path) -> None:
    """With one address to listen on, both tell the same of the two ends."""
    pair = pairs(Tree(HANDLERS / "contract", documents, ("-H", "127.0.0.1")))
    report = _compare(pair, [*hello("/introspect?addresses"), head()], 1)
    assert report["remote"] == ["tuple", "127.0.0.1", 2]


def test_addresses_on_every_interface(contract: Pair) -> None:
    """The reference takes IPv4 clients on its IPv6 socket, and so tells their addresses in IPv6's form."""
    deviates("remote-address")
    reference, subject = contract.run([*hello("/introspect?addresses"), head()])
    assert _json(reference, 1)["remote"] == ["tuple", "::ffff:127.0.0.1", 4]
    if not servers.SELF:
        assert _json(subject, 1)["remote"] == ["tuple", "127.0.0.1", 2]
        assert _json(subject, 1)["local"] == _json(reference, 1)["local"]


def test_wrong_calls(contract: Pair) -> None:
    """A str to `write`, no argument to `read`: each wrong call has its exception."""
    report = _compare(contract, refused("/introspect?wrong"), 0)
    assert report["write str"] == report["read"] == "TypeError"


@pytest.mark.parametrize("report", ["names", "stream", "util", "headers", "processors"])
def test_modules(contract: Pair, report: str) -> None:
    """Names, constants and the outcomes of pure functions."""
    _compare(contract, refused(f"/modules?{report}"), 0)


_SEND_AND_END: dict[str, bytes] = {
    "filtered": text("plain"),
    "filtered&fragment": text("plain", fin=False),
    "filtered&ping": ping(b"p"),
    "filtered&rsv": frame(TEXT, b"r", rsv=RSV1),
    "get-message": text("a", fin=False) + more(b"b") + more(b"c", fin=True),
    "get-message&wrong": more(b"b"),
    "own-frames": b"",
    "process-close": close(3000, "r\xe4son"),
    "process-close&empty": close(None),
    "process-close&one": frame(8, b"x"),
    "process-close&message": text("\x0c! is code 3105"),
    "bytes": b"abcdefghij",
    "filters": text("filtered"),
    "opcode": text("t") + binary(b"b") + ping(b"p") + text("x", fin=False) + more(b"y", fin=True),
    "closing": b"",
    "msgutil-close": b"",
    "errors": frame(3, b"reserved")
    + frame(TEXT, b"rsv", rsv=0x20)
    + text("fine")
    + frame(TEXT, b"\xff")
    + text("ok"),
    "errors&frames": more(b"x") + text("a", fin=False) + text("b") + more(b"c", fin=True) + text("ok"),
    "errors&big": ping(b"p" * 126) + text("ok") + frame(9, b"", fin=False) + text("again"),
    "errors&close": frame(8, b"x") + text("ok"),
    "errors&mask": frame(TEXT, b"unmasked", mask=False),
}


@pytest.mark.parametrize("kind", _SEND_AND_END)
def test_stream_calls(contract: Pair, kind: str) -> None:
    """The calls of the stream that hand out frames, bytes and closes, one by one."""
    path = "/stream_calls?" + kind.split("&")[0]
    script = [send(request(path) + _SEND_AND_END[kind] + close(1000)), half_close(), eof()]
    contract.check(Scenario(kind, script))


@pytest.mark.parametrize("kind", ["filtered", "opcode", "errors", "bytes", "closing"])
def test_stream_calls_at_end(contract: Pair, kind: str) -> None:
    """The same calls when the client is gone."""
    contract.check(Scenario(kind, [hello("/stream_calls?" + kind), half_close(), eof()]))


@pytest.mark.parametrize("kind", ["filtered", "filters", "opcode", "get-message"])
def test_stream_calls_compressed(contract: Pair, kind: str) -> None:
    """The same calls under permessage-deflate: filters are part of the stream's options."""
    compressed = frame(TEXT, b"\xf2H\xcd\xc9\xc9\x07\x00", rsv=RSV1)
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    script = [*hello("/stream_calls?" + kind, offer), send(compressed * 3), *goodbye()]
    contract.check(Scenario(kind, script))


def test_pong_answers_ping(contract: Pair) -> None:
    """Control frames are handled inside `receive_message`."""
    script = [*hello("/echo"), send(ping(b"1") + pong(b"2") + ping(b"") + text("x")), receive(3), *goodbye()]
    contract.check(Scenario("ping", script))
    assert Event("a", "receive", b"\x8a\x011") in contract.run(script)[0]
