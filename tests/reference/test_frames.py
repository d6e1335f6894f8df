"""The data phase: sequences of frames, good and bad, against an echo handler."""

from __future__ import annotations

import frames
import pytest
from deviations import Deviation
from frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, binary, close, frame, more, ping, pong, text
from pair import Pair, Scenario
from wire import Script, Step, eof, goodbye, half_close, hello, pieces, read, receive, reset, send

_CLOSED = b"\x88\x02\x03\xe8"
_PROTOCOL_ERROR = b"\x88\x02\x03\xea"
_NOT_UTF8 = b"\x88\x02\x03\xef"
_PONG = b"\x8a\x01p"

_SEQUENCES: dict[str, bytes] = {
    "text": text("Grüße \U0001f600"),
    "empty-text": text(""),
    "empty-binary": binary(b""),
    "nul": text("\0"),
    "two": text("one") + binary(b"two"),
    "fragments": text("a", fin=False) + more(b"b") + more(b"c", fin=True),
    "binary-fragments": binary(b"\xff", fin=False) + more(b"\xfe", fin=True),
    "empty-fragments": text("", fin=False) + more(b"") + more(b"", fin=True),
    "empty-first": text("", fin=False) + more(b"x", fin=True),
    "split-character": frame(TEXT, b"\xe2\x82", fin=False) + more(b"\xac", fin=True),
    "many-fragments": text("", fin=False) + more(b"x") * 500 + more(b"", fin=True),
    "ping": ping(b"p"),
    "ping-empty": ping(),
    "ping-125": ping(b"p" * 125),
    "ping-126": ping(b"p" * 126),
    "ping-fragment": frame(PING, b"p", fin=False),
    "ping-long-length": frame(PING, b"p", length_bytes=2),
    "pong": pong(b"unsolicited"),
    "pong-126": pong(b"p" * 126),
    "pong-fragment": frame(PONG, b"", fin=False),
    "pings": ping(b"1") + ping(b"2") + text("x") + ping(b"3"),
    "continuation": more(b"x"),
    "continuation-final": more(b"x", fin=True),
    "continuation-after-message": text("x") + more(b"y", fin=True),
    "text-in-fragments": text("a", fin=False) + text("b"),
    "fragments-in-fragments": text("a", fin=False) + binary(b"b", fin=False),
    "unmasked": frame(TEXT, b"x", mask=False),
    "unmasked-empty": frame(TEXT, b"", mask=False),
    "unmasked-close": frame(CLOSE, b"\x03\xe8", mask=False),
    "unmasked-ping": frame(PING, b"p", mask=False),
    **{f"rsv-{bits:02x}": frame(TEXT, b"x", rsv=bits) for bits in (0x10, 0x20, 0x40, 0x70)},
    **{f"rsv-{bits:02x}-ping": frame(PING, b"x", rsv=bits) for bits in (0x10, 0x40)},
    **{f"rsv-{bits:02x}-close": frame(CLOSE, b"", rsv=bits) for bits in (0x20, 0x40)},
    "rsv-continuation": text("a", fin=False) + frame(CONTINUATION, b"b", rsv=0x40),
    "rsv-big-ping": frame(PING, b"p" * 126, rsv=0x40),
    **{f"opcode-{code:x}": frame(code, b"x") for code in (*range(3, 8), *range(0xB, 0x10))},
    **{f"opcode-{code:x}-fragment": frame(code, b"x", fin=False) for code in (0xB, 0xF)},
    **{f"opcode-{code:x}-126": frame(code, b"x" * 126) for code in (3, 0xB)},
    "opcode-b-and-more": frame(0xB, b"x") + text("y"),
    "opcode-3-fragments": frame(3, b"x", fin=False) + more(b"y", fin=True),
    "opcode-3-then-text": frame(3, b"x") + text("y"),
    "utf8-latin": frame(TEXT, b"caf\xe9"),
    "utf8-cut": frame(TEXT, b"\xe2\x82"),
    "utf8-overlong": frame(TEXT, b"\xc0\xaf"),
    "utf8-surrogate": frame(TEXT, b"\xed\xa0\x80"),
    "utf8-too-big": frame(TEXT, b"\xf4\x90\x80\x80"),
    "utf8-biggest": frame(TEXT, b"\xf4\x8f\xbf\xbf"),
    "utf8-noncharacter": frame(TEXT, b"\xef\xbf\xbf\xef\xb7\x90"),
    "utf8-in-fragments": frame(TEXT, b"a\xff", fin=False) + more(b"b", fin=True),
    "utf8-then-text": frame(TEXT, b"\xff") + text("not read as a message"),
    "utf8-in-ping": ping(b"\xff\xfe"),
    **{
        f"length-{size}-in-{width}": frame(BINARY, b"b" * size, length_bytes=width)
        for size, width in ((0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8))
    },
    "length-top-bit": b"\x82\xff\x80\0\0\0\0\0\0\0" + frames.MASK,
    "close-empty-long": frame(CLOSE, b"", length_bytes=8),
    "close-twice": close(1000) + close(1001),
    "close-then-text": close(1000) + text("late"),
    "close-then-garbage": close(1000) + b"\xff" * 20,
    "text-then-close": text("x") + close(3000, "done"),
}


@pytest.mark.parametrize("name", _SEQUENCES)
def test_sequences(contract: Pair, name: str) -> None:
    """The sequence and a close frame behind it, in one write."""
    contract.check(Scenario(name, [hello("/echo"), send(_SEQUENCES[name] + close()), eof()]))


@pytest.mark.parametrize("name", [name for name, data in _SEQUENCES.items() if len(data) < 60])
def test_sequences_byte_by_byte(contract: Pair, name: str) -> None:
    """The same, each byte in a write of its own."""
    contract.check(Scenario(name, [hello("/echo"), pieces(_SEQUENCES[name] + close()), eof()]))


_BETWEEN: dict[str, tuple[bytes, bytes]] = {
    "ping": (text("a", fin=False) + ping(b"p") + more(b"b", fin=True), _PONG + b"\x81\x02ab"),
    "pings": (
        text("a", fin=False) + ping(b"p") + more(b"b") + ping(b"p") + more(b"c", fin=True),
        _PONG + _PONG + b"\x81\x03abc",
    ),
    "pong": (binary(b"a", fin=False) + pong(b"p") + more(b"b", fin=True), b"\x82\x02ab"),
    "close": (text("a", fin=False), b""),
    "close-in-reserved": (frame(3, b"a", fin=False), b""),
}


@pytest.mark.parametrize("name", _BETWEEN)
def test_control_frames_between_fragments(contract: Pair, name: str) -> None:
    """Control frames may stand between the fragments of a message (RFC 6455 section 5.4)."""
    sent, answered = _BETWEEN[name]
    deviation = Deviation("ping-between-fragments", reference=_PROTOCOL_ERROR, wshost=answered + _CLOSED)
    contract.check(Scenario(name, [hello("/echo"), send(sent + close()), eof()], deviation))


@pytest.mark.parametrize("name", ["ping-126", "ping-fragment"])
def test_broken_control_frames_between_fragments(contract: Pair, name: str) -> None:
    """Broken ones may not stand there, either."""
    script = [*hello("/echo"), send(text("a", fin=False) + _SEQUENCES[name] + close()), eof()]
    contract.check(Scenario(name, script))


@pytest.mark.parametrize("size", [1, 125, 126, 127, 65535, 65536, 65537])
@pytest.mark.parametrize("kind", [TEXT, BINARY], ids=["text", "binary"])
def test_lengths(contract: Pair, size: int, kind: int) -> None:
    """Every boundary of the length encoding, in both directions."""
    contract.check(
        Scenario(str(size), [hello("/echo"), send(frame(kind, b"x" * size)), receive(), goodbye()])
    )


@pytest.mark.parametrize("handler", ["/echo", "/echo?quiet", "/echo?fragments"])
def test_large_messages(contract: Pair, handler: str) -> None:
    """Messages larger than every buffer on the way."""
    payload = bytes(range(256)) * 8192
    script: Script = [
        hello(handler),
        send(binary(payload, fin=False) + more(payload, fin=True) + close()),
        eof(),
    ]
    contract.check(Scenario(handler, script))


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014,
                                  3000, 3999, 4000, 4999, 5000, 65535])  # fmt: skip
@pytest.mark.parametrize("handler", ["/echo", "/echo?report"])
def test_close_codes(contract: Pair, code: int, handler: str) -> None:
    """Every kind of close code: what the handler sees and what comes back."""
    contract.check(Scenario(str(code), [hello(handler), send(close(code, "r")), eof()]))


def _reported(code: int, reason: str) -> bytes:
    """What the echo handler says of a close frame, if it is asked to."""
    report = f"{code} {reason!r}".encode()
    return b"\x81" + _length(len(report)) + report + _CLOSED


def _length(length: int) -> bytes:
    """The length field of a frame from the server."""
    return bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999])
def test_close_codes_that_must_not_be_sent(contract: Pair, code: int) -> None:
    """They are the peer's error (RFC 6455 section 7.4)."""
    reference = b"\x88\x00" if code == 1005 else _reported(code, "r")
    deviation = Deviation("close-code", reference=reference, wshost=_PROTOCOL_ERROR)
    contract.check(Scenario(str(code), [hello("/echo?report"), send(close(code, "r")), eof()], deviation))


@pytest.mark.parametrize("reason", [b"\xff\xfe", b"\xe2\x82", b"\xff" * 123], ids=["bad", "cut", "longest"])
def test_close_reasons_that_are_not_utf8(contract: Pair, reason: bytes) -> None:
    """They are an error as in any text (RFC 6455 section 8.1)."""
    reference = _reported(3000, reason.decode("utf-8", "replace"))
    deviation = Deviation("close-reason", reference=reference, wshost=_NOT_UTF8)
    sent = send(frame(CLOSE, b"\x0b\xb8" + reason))
    contract.check(Scenario("reason", [hello("/echo?report"), sent, eof()], deviation))


@pytest.mark.parametrize("first", [b"a\xff", b"\xed\xa0", b"\xf4\x90"], ids=["byte", "surrogate", "too-big"])
def test_text_fails_with_the_fragment(contract: Pair, first: bytes) -> None:
    """A text that cannot become UTF-8 any more is not read to its end."""
    sent = send(text("a", fin=False) + frame(CONTINUATION, first, fin=False) + close())
    deviation = Deviation("utf8-in-fragments", reference=_PROTOCOL_ERROR, wshost=_NOT_UTF8)
    contract.check(Scenario("fragments", [hello("/echo"), sent, eof()], deviation))


@pytest.mark.parametrize("whole", [text("x" * 9), text("x" * 9, fin=False)], ids=["message", "fragment"])
def test_text_fails_within_the_frame(contract: Pair, whole: bytes) -> None:
    """Nor are the bytes of its frame waited for that come behind the wrong one."""
    sent = send(whole[:7] + bytes([whole[7] ^ 0x80]) + whole[8:12])
    deviation = Deviation("utf8-in-fragments", reference=b"", wshost=_NOT_UTF8)
    contract.check(Scenario("frame", [hello("/echo"), sent, half_close(), eof()], deviation))


def test_no_pong_after_our_close(contract: Pair) -> None:
    """A ping that comes behind what made us close is not answered."""
    sent = send(frame(3, b"x") + ping(b"p") + close())
    unsupported = b"\x88\x02\x03\xeb"
    deviation = Deviation("pong-after-close", reference=unsupported + _PONG, wshost=unsupported)
    contract.check(Scenario("ping", [hello("/echo"), sent, eof()], deviation))


def test_characters_may_be_cut(contract: Pair) -> None:
    """A fragment may end within a character."""
    sent = b"".join(more(byte, fin=False) for byte in (b"\x82", b"\xac", b"\xf0", b"\x9f\x99"))
    sent = frame(TEXT, b"\xe2", fin=False) + sent + more(b"\x82", fin=True)
    contract.check(Scenario("cut", [hello("/echo"), send(sent), receive(), goodbye()]))


_CLOSE_BODIES: dict[str, bytes] = {
    "empty": b"",
    "one-byte": b"\x03",
    "code": b"\x0b\xb8",
    "longest": b"\x0b\xb8" + b"r" * 123,
    "too-long": b"\x0b\xb8" + b"r" * 124,
    "utf8": b"\x0b\xb8" + "Grüße".encode(),
    "nul": b"\x0b\xb8\0",
}


@pytest.mark.parametrize("name", _CLOSE_BODIES)
@pytest.mark.parametrize("handler", ["/echo", "/echo?report"])
def test_close_bodies(contract: Pair, name: str, handler: str) -> None:
    """Bodies of close frames, well formed or not."""
    contract.check(Scenario(name, [hello(handler), send(frame(CLOSE, _CLOSE_BODIES[name])), eof()]))


_CUTS: dict[str, bytes] = {
    "before-frame": b"",
    "in-header": b"\x81",
    "in-length": b"\x81\xfe\x01",
    "in-mask": b"\x81\x85\x01\x02",
    "in-payload": text("hello")[:-1],
    "between-fragments": text("a", fin=False),
    "after-message": text("whole"),
    "in-close": close(1000)[:-1],
    "after-close": close(1000),
}


@pytest.mark.parametrize("name", _CUTS)
def test_half_close(contract: Pair, name: str) -> None:
    """The client ends its direction in the middle of something."""
    contract.check(Scenario(name, [hello("/echo"), send(_CUTS[name]), half_close(), eof()]))


@pytest.mark.parametrize("name", _CUTS)
def test_reset(contract: Pair, name: str) -> None:
    """The client drops the connection; the server goes on serving others."""
    other = [*hello("/echo", on="b"), send(text("x"), "b"), receive(1, "b"), *goodbye("b")]
    contract.check(Scenario(name, [hello("/echo"), send(_CUTS[name]), reset(), other]))


def test_server_reads_on_demand(contract: Pair) -> None:
    """Many messages at once come back in order."""
    sent = b"".join(text(str(number)) for number in range(300))
    contract.check(Scenario("many", [hello("/echo"), send(sent), receive(300), goodbye()]))


def test_frames_behind_the_handshake(contract: Pair) -> None:
    """What came in one packet with the request head is not lost."""
    contract.check(Scenario("early", [*hello_with(text("early")), read(7), *goodbye()]))


def hello_with(data: bytes) -> list[Step]:
    """An opening handshake with frames right behind it, answer and all."""
    opening, answer = hello("/echo")
    return [send(opening.data + data), answer]
