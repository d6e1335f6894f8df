"""The 43 tricks of existing handlers that a strict server would break, one by one, by their numbers.

Most are scenarios on `tests/handlers/tricks/trickNN_*_wsh.py`. Those that are not about bytes on a
connection (import errors, encodings, stdout) are checks of their own, listed under the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import servers
from deviations import Deviation, deviates
from frames import CLOSE, PING, RSV1, TEXT, binary, close, frame, more, ping, pong, text
from pair import Pair, Pairs, Scenario
from servers import HANDLERS, Tree
from wire import (
    Script,
    Step,
    deflate,
    eof,
    flat,
    flood,
    goodbye,
    half_close,
    head,
    hello,
    journal,
    read,
    receive,
    refused,
    request,
    reset,
    send,
)

_FILES = {
    int(path.name[5:7]): "/" + path.name[: -len("_wsh.py")]
    for path in (HANDLERS / "tricks").glob("trick[0-9][0-9]_*_wsh.py")
}
_FIRST_CLOSE = b"\x88\x02\x03\xe8"


@dataclass(frozen=True)
class Trick:
    """One thing to show about one trick."""

    number: int
    scenario: Scenario

    def __str__(self) -> str:
        return f"{self.number:02}-{self.scenario.name}"


def _trick(number: int, name: str, *script: Script, deviation: Deviation | None = None) -> Trick:
    return Trick(number, Scenario(name, script, deviation))


def _at(number: int, query: str = "") -> str:
    return f"{_FILES[number]}?{query}" if query else _FILES[number]


def _answered(number: int, query: str, count: int = 0) -> list[Script]:
    """Opening handshake, `count` frames of the server and its close frame, answered."""
    return [*hello(_at(number, query)), receive(count + 1), *goodbye()]


_PROTOCOLS: dict[str, str | None] = {"Sec-WebSocket-Protocol": "chat, superchat"}
_ONE_PROTOCOL: dict[str, str | None] = {"Sec-WebSocket-Protocol": "chat"}


def _handshake() -> list[Trick]:
    odd = (
        "not-http", "a5", "nul", "bare-lf", "no-crlf", "junk", "status-200", "status-401", "http-1.0", "fold",
        "duplicates", "empty",
    )  # fmt: skip
    errors = (
        "value", "key", "name", "unbound", "attribute", "write-str", "iterate-none", "own", "no-text",
        "handshake", "version", "terminated", "dispatch", "os", "exit", "interrupt",
    )  # fmt: skip
    protocols = ("hide", "unasked", "copy", "upper", "last", "empty", "space", "non-ascii", "number", "none")
    headers = ("inject", "flood", "repeat", "number", "unicode", "surrogate", "triple", "list")
    return [
        _trick(1, "own-response", refused(_at(1))),
        _trick(1, "own-response-in-two-writes", refused(_at(1, "split"))),
        *(_trick(2, kind, refused(_at(2, kind))) for kind in odd),
        _trick(3, "bytes-then-101", hello(_at(3)), head(), receive(2), goodbye()),
        _trick(3, "str", refused(_at(3, "str"))),
        _trick(
            4,
            "endless-write",
            send(request(_at(4))),
            read(100_000),
            reset(),
            journal(),
            _on("b", hello(_at(4, "ok")), receive(2), goodbye()),
        ),
        _trick(
            5,
            "slow-handshake",
            send(request(_at(5))),
            read(2),
            _on("b", hello(_at(5, "go")), receive(2), goodbye()),
            head(),
            receive(2),
            goodbye(),
        ),
        _trick(6, "by-hand", hello(_at(6)), receive(), send(close(1000)), eof()),
        _trick(6, "by-hand-in-pieces", hello(_at(6)), receive(), send(close(1000)[:1]), eof()),
        _trick(7, "waits", send(request(_at(7, "4096"))), read(2), send(b"abc"), eof()),
        _trick(
            7, "short", send(request(_at(7, "2,4096,4096")) + b"abc"), read(2 + 5 + 4), half_close(), eof()
        ),
        _trick(7, "zero", refused(_at(7, "0"))),
        _trick(7, "to-the-end", send(request(_at(7, "-1")) + b"abc"), half_close(), eof()),
        _trick(7, "end", send(request(_at(7, "5"))), half_close(), eof()),
        _trick(7, "noarg", refused(_at(7, "noarg"))),
        _trick(7, "str", refused(_at(7, "str"))),
        *(_trick(8, kind, refused(_at(8, kind))) for kind in errors),
        _trick(9, "send", refused(_at(9, "send")), journal()),
        _trick(9, "close", refused(_at(9, "close")), journal()),
        _trick(9, "later", hello(_at(9)), receive(), goodbye(), journal(2)),
        *(_trick(10, f"{kind}-of-two", _until_end(_at(10, kind), _PROTOCOLS)) for kind in protocols),
        *(_trick(10, f"{kind}-of-one", _until_end(_at(10, kind), _ONE_PROTOCOL)) for kind in protocols),
        *(
            _trick(10, f"{kind}-unoffered", _until_end(_at(10, kind)))
            for kind in ("hide", "unasked", "empty")
        ),
        _trick(11, "offered", refused(_at(11), _PROTOCOLS)),
        _trick(11, "not-offered", hello(_at(11)), receive(2), goodbye()),
        *(_trick(12, kind, _until_end(_at(12, kind))) for kind in headers),
        _trick(14, "added", _until_end(_at(14), deflate())),
        _trick(14, "not-offered", _until_end(_at(14))),
        _trick(15, "none", hello(_at(15)), eof()),
        _trick(15, "one", _until_end(_at(15), deflate())),
        _trick(16, "early", hello(_at(16), deflate()), receive(7), goodbye(), journal(3)),
        _trick(16, "not-offered", hello(_at(16)), eof()),
        _trick(17, "refused", refused(_at(17)), journal()),
        _trick(17, "let-in", hello(_at(17), {"Authorization": "x"}), receive(2), goodbye(), journal()),
    ]


def _until_end(path: str, headers: dict[str, str | None] | None = None) -> list[Script]:
    """Opening handshake and the client's close frame at once, then everything until the end."""
    return [send(request(path, headers) + close()), eof()]


def _on(connection: str, *script: Script) -> list[Script]:
    """The same script on another connection."""
    return [replace(step, on=connection) for step in flat(script)]


def _data() -> list[Trick]:
    raw = (
        "rsv", "opcodes", "utf8", "long-length", "longer-length", "fragmented-ping", "big-ping", "open-ping",
        "interleaved", "continuation", "mask-bit", "compressed-close", "two-in-one", "one-in-two",
        "one-byte-close", "empty-close", "empty",
    )  # fmt: skip
    waiting = ("bad-operation", "own-bad-operation", "unsupported", "utf8")
    ending = (
        "aborted", "invalid-frame", "terminated", "handshake", "version", "dispatch", "value", "os",
        "unicode", "exit", "interrupt", "attribute", "name", "signature",
    )  # fmt: skip
    fragments = ("text", "binary", "mixed", "ping-between", "unfinished", "keywords")
    sent_close = (
        "none",
        "none-empty",
        "1000,",
        "3000,reason",
        "1005,",
        "1006,",
        "1015,",
        "999,",
        "5000,",
        "4999,",
    )
    passive = (
        "echo", "none-none", "none-empty", "none-reason", "code-none", "reason", "pseudo", "too-big",
        "too-small", "string", "bytes", "long", "list", "triple", "return-none",
    )  # fmt: skip
    return [
        *(_trick(18, kind, hello(_at(18, kind)), eof()) for kind in raw),
        _trick(18, "too-long", hello(_at(18, "too-long")), read(100_000), reset(), journal()),
        _trick(19, "raw-then-close", hello(_at(19)), receive(2), goodbye()),
        _trick(20, "server", hello(_at(20, "server")), receive(), goodbye(code=4321), journal()),
        _trick(20, "client", hello(_at(20, "client")), goodbye(code=None), journal()),
        _trick(20, "both", hello(_at(20, "both")), eof(), journal()),
        _trick(20, "client-only", hello(_at(20, "client-only")), eof()),
        *(
            _trick(21, f"{kind}-{name}", hello(_at(21, kind)), send(sent), eof())
            for kind in ("abort", "raise")
            for name, sent in (("close", close(1000)), ("ping", ping(b"p")), ("part", text("t", fin=False)))
        ),
        _trick(21, "return", hello(_at(21)), send(close(1000)), receive_raw(), send(close()), eof()),
        # The server waits for the client's close frame.
        *(_trick(22, k, hello(_at(22, k)), receive(2), goodbye()) for k in waiting),
        *(_trick(22, kind, hello(_at(22, kind)), eof()) for kind in ending),
        _trick(23, "echo", hello(_at(23, "echo")), send(text("x")), receive(), goodbye()),
        _trick(23, "kinds", hello(_at(23, "kinds")), goodbye(), journal(6)),
        _trick(24, "text", hello(_at(24)), send(text("x")), receive(), goodbye()),
        _trick(24, "bytes", hello(_at(24)), send(binary(b"x")), receive(2), goodbye()),
        _trick(25, "return", hello(_at(25)), send(text("par", fin=False)), receive(), goodbye(), journal()),
        _trick(25, "raw", hello(_at(25, "raw")), send(text("a") + b"next"), eof_after_close(), journal()),
        _trick(
            25,
            "object",
            hello(_at(25, "object")),
            send(frame(TEXT, b"p", fin=False, rsv=RSV1) + frame(PING, b"q", rsv=0x30)),
            receive(),
            goodbye(),
            journal(2),
        ),
        _trick(26, "raw", hello(_at(26, "raw")), receive(), send(pong(b"x")), receive(2), goodbye()),
        _trick(26, "pong", hello(_at(26, "pong")), receive(2), goodbye()),
        _trick(
            26,
            "handlers",
            hello(_at(26, "handlers")),
            receive(2),
            send(ping(b"\xffp") + pong(b"one") + pong(b"unsolicited") + text("t")),
            receive(5),
            goodbye(),
        ),
        _trick(26, "big", hello(_at(26, "big")), receive(), goodbye()),
        _trick(26, "big-pong", hello(_at(26, "big-pong")), receive(), goodbye()),
        _trick(
            26,
            "bad-handler",
            hello(_at(26, "bad-handler")),
            send(ping(b"p") + text("t")),
            receive(3),
            goodbye(),
        ),
        *(_trick(27, k, hello(_at(27, k)), receive(), goodbye()) for k in sent_close),
        _trick(27, "none-reason", hello(_at(27, "none-reason")), receive(), goodbye()),
        *(
            _trick(27, k, hello(_at(27, k)), eof())
            for k in ("abrupt", "no-wait", "going-away", "1001,x", "1002,x")
        ),
        _trick(27, "message-instead", hello(_at(27, "none")), receive(), send(text("no")), eof()),
        _trick(
            28,
            "echo-raw",
            hello(_at(28)),
            send(binary(b"\x81\x02hi") + binary(b"\x82\x01\0")),
            receive(2),
            goodbye(),
        ),
        _trick(28, "text", hello(_at(28)), send(text("str is no bytes")), eof()),
        *(_trick(29, kind, _until_end(_at(29, kind))) for kind in fragments),
        *(_trick(29, f"{kind}-deflate", _until_end(_at(29, kind), deflate())) for kind in fragments),
        *(
            _trick(30, k, hello(_at(30, k)), goodbye())
            for k in ("own-code", "return", "raise", "close", "send", "x")
        ),
        _trick(
            30,
            "wait",
            hello(_at(30, "wait")),
            send(close(1000)),
            receive(),
            _on("b", hello(_at(30, "go")), goodbye()),
            eof(),
        ),
        *(
            _trick(31, kind, hello(_at(31, kind)), send(close(3001, "bye")), eof(), journal())
            for kind in passive
        ),
        *(
            _trick(31, f"echo-{name}", hello(_at(31, "echo")), send(sent), eof(), journal())
            for name, sent in (
                ("empty", close(None)),
                ("only-code", close(1001)),
                ("one-byte", frame(CLOSE, b"x")),
            )
        ),
        _trick(
            32,
            "send",
            hello(_at(32, "send")),
            read(1 << 20),
            _on("b", hello(_at(32, "sent")), receive(2), goodbye()),
            read(15 * (10 + (1 << 20)) + 10),
            receive(),
            goodbye(),
            journal(),
        ),
        _trick(
            32,
            "receive",
            hello(_at(32, "receive")),
            receive(),
            flood(binary(b"f" * (64 << 20))),
            _on("b", hello(_at(32, "go")), receive(), goodbye()),
            reset(),
        ),
        _trick(33, "reset", hello(_at(33)), receive(), reset(), journal(2)),
        _trick(33, "half-close", hello(_at(33)), receive(), half_close(), eof(), journal(2)),
        _trick(
            33, "in-header", hello(_at(33)), receive(), send(text("x")[:1]), half_close(), eof(), journal(2)
        ),
        _trick(
            33,
            "in-message",
            hello(_at(33)),
            receive(),
            send(text("xyz")[:-1]),
            half_close(),
            eof(),
            journal(2),
        ),
        _trick(
            33,
            "in-fragments",
            hello(_at(33)),
            receive(),
            send(more(b"")[:0]),
            half_close(),
            eof(),
            journal(2),
        ),
        _trick(33, "closed", hello(_at(33)), receive(), goodbye(), journal(2)),
    ]


def receive_raw() -> Step:
    """The text that trick 21 writes between frames, and the two frames behind it."""
    return read(len(repr((8, b"\x03\xe8", 1, 0, 0, 0))) + 2 + 4)


def eof_after_close() -> list[Script]:
    """The four raw bytes of trick 25, the server's close frame, its answer, the end."""
    return [read(len(repr(b"next")) + 4), goodbye()]


def _state() -> list[Trick]:
    members = "bcd"
    return [
        _trick(
            34,
            "globals",
            hello(_at(34, "reset")),
            receive(),
            goodbye(),
            _on("b", hello(_at(34, "set")), send(text("35a")), receive(), goodbye()),
            _on("c", hello(_at(34, "get")), receive(2), goodbye()),
        ),
        _trick(
            34,
            "condition",
            hello(_at(34, "reset")),
            receive(),
            goodbye(),
            *(_on(name, hello(_at(34, "wait")), receive()) for name in members),
            _on("e", hello(_at(34, "release")), receive(), goodbye()),
            *(_on(name, receive(2), goodbye()) for name in members),
        ),
        _trick(
            35,
            "send",
            hello(_at(35, "join")),
            receive(),
            _on("b", hello(_at(35, "send")), receive(), goodbye()),
            receive(),
            goodbye(),
        ),
        _trick(
            35,
            "peer-gone",
            hello(_at(35, "stay")),
            receive(),
            reset(),
            _on("b", hello(_at(35, "poke")), receive(), goodbye()),
            journal(),
        ),
        _trick(
            35,
            "two-threads",
            hello(_at(35, "two-threads")),
            receive(3),
            send(text("x")),
            receive(2),
            goodbye(),
        ),
        _trick(35, "receiver", hello(_at(35, "receiver")), send(text("x")), receive(2), goodbye()),
        _trick(35, "sender", _answered(35, "sender", 3)),
        *(_trick(36, kind, _answered(36, kind, 1)) for kind in ("cwd", "relative", "once")),
        _trick(
            36,
            "module",
            _answered(36, "module", 1),
            deviation=Deviation(
                "handler-module",
                reference=_text("none") + _FIRST_CLOSE,
                wshost=_text("trick36_environment_wsh.py") + _FIRST_CLOSE,
            ),
        ),
        _trick(38, "same", _answered(38, "same", 13)),
        _trick(38, "abort", refused(_at(38, "abort"))),
        _trick(38, "isinstance", hello(_at(38), deflate()), receive(16), goodbye()),
        _trick(
            38,
            "old-names",
            _answered(38, "old", 2),
            deviation=Deviation(
                "old-module-names",
                reference=_text("handshake._base missing") + _text("_stream_base missing") + _FIRST_CLOSE,
                wshost=_text("handshake._base found") + _text("_stream_base found") + _FIRST_CLOSE,
            ),
        ),
        _trick(39, "six", _answered(39, "a=1&a=2", 2)),
        *(_trick(41, kind, refused(_at(41, kind))) for kind in ("unicode", "cgi")),
        _trick(41, "xrange", hello(_at(41)), eof()),
        *(_trick(43, kind, refused(_at(43, kind))) for kind in ("challenge", "tuple")),
        _trick(43, "location", _answered(43, "location", 1)),
        _trick(43, "transfer", hello(_at(43, "x")), eof()),
    ]


def _text(message: str) -> bytes:
    """A server's frame of a short text."""
    return bytes([0x81, len(message.encode())]) + message.encode()


_TRICKS = [*_handshake(), *_data(), *_state()]


@pytest.mark.parametrize("trick", _TRICKS, ids=str)
def test_trick(tricks: Pair, trick: Trick) -> None:
    """Both servers give the same bytes, the same end and the same notes of the handler."""
    tricks.check(trick.scenario)


def test_trick_13_sts(tricks: Pair) -> None:
    """Firefox's own attribute; the expectation is its patch, not the oracle."""
    deviates("sts-header")
    for query, line in (("set", b"Strict-Transport-Security: max-age=100\r\n"), ("unset", b"")):
        script = [*hello(_at(13, query), deflate()), receive(), *goodbye(), journal()]
        reference, subject = tricks.run(script)
        assert b"Strict-Transport-Security" not in reference[0].data
        assert reference[-1].data == b"sts is missing"
        if servers.SELF:
            continue
        extensions = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
        assert extensions + line + b"X-Last: 1\r\n" in subject[0].data
        assert subject[-1].data == b"sts is None"
        assert subject[1:-1] == reference[1:-1]


_BROKEN = (
    "raises", "missing_module", "syntax", "python2", "no_handshake", "no_transfer", "not_callable", "empty",
    "needs_environment",
)  # fmt: skip


@pytest.fixture(scope="session")
def broken(pairs: Pairs, documents: Path) -> Pair:
    """Both servers on `tests/handlers/broken`."""
    return pairs(Tree(HANDLERS / "broken", documents))


@pytest.mark.parametrize("name", _BROKEN)
def test_trick_37_import_error(broken: Pair, name: str) -> None:
    """A file that does not load is a warning that names it; its resource is not there."""
    for server in (broken.reference, broken.subject):
        both = rf"{name}_wsh\.py.*Warning in source loading|Warning in source loading.*{name}_wsh\.py"
        assert server.writes(both), server.written()
    for transcript in broken.run(refused(f"/{name}")):
        assert b" 404 " in transcript[0].data.split(b"\r\n")[0]


@pytest.mark.parametrize("path", ["/ok", "/passive_not_callable"])
def test_trick_37_others_load(broken: Pair, path: str) -> None:
    """Broken files do not keep the others from loading."""
    broken.check(Scenario(path, _until_end(path)))


_ENCODINGS: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    "utf-8-locale": ((), (("LC_ALL", "C.UTF-8"),)),
    "handler-encoding-utf-8": (("--handler-encoding", "utf-8"), ()),
    "handler-encoding-latin-1": (("--handler-encoding", "latin-1"), (("LC_ALL", "C.UTF-8"),)),
    "underscore-spelling": (("--handler_encoding=cp1252",), (("LC_ALL", "C.UTF-8"),)),
}


@pytest.mark.parametrize("kind", _ENCODINGS)
def test_trick_40_encodings(pairs: Pairs, documents: Path, kind: str) -> None:
    """Source without a coding line is read with the locale's encoding, or with the one that is given."""
    options, environment = _ENCODINGS[kind]
    pair = pairs(Tree(HANDLERS / "encodings", documents, options, environment))
    pair.check(Scenario(kind, [hello("/umlaut"), receive(2), goodbye()]))


def test_trick_42_stdout(tricks: Pair) -> None:
    """What handlers print arrives on stdout, and stderr stays theirs, too."""
    tricks.check(Scenario("print", [hello(_at(42)), receive(2), goodbye()]))
    for server in (tricks.reference, tricks.subject):
        stdout = (server.folder / "stdout").read_text()
        assert f"printed in the handshake of {_at(42)}\n" in stdout
        assert f"written in the transfer of {_at(42)}\n" in stdout
        assert f"complained in the transfer of {_at(42)}\n" in (server.folder / "stderr").read_text()


_OWN_CHECKS: dict[int, Callable[..., None]] = {
    13: test_trick_13_sts,
    37: test_trick_37_import_error,
    40: test_trick_40_encodings,
    42: test_trick_42_stdout,
}


@pytest.mark.parametrize("number", range(1, 44), ids=lambda number: f"trick{number:02}")
def test_every_trick_is_shown(number: int) -> None:
    """No trick without a scenario or a check, and no fixture without a number."""
    scenarios = [trick for trick in _TRICKS if trick.number == number]
    assert scenarios or number in _OWN_CHECKS
    assert bool(scenarios) != (number in _OWN_CHECKS)
    assert number in _FILES or number in (37, 40)


def test_scenario_names_are_unique() -> None:
    """The ids are what a failure is reported by."""
    names = [str(trick) for trick in _TRICKS]
    assert sorted(set(names)) == sorted(names)
