"""permessage-deflate (RFC 7692): what goes out, what may come in."""

from __future__ import annotations

import random
import zlib

import pytest
from deviations import Deviation
from frames import BINARY, CLOSE, CONTINUATION, PING, RSV1, TEXT, Compressor, close, frame, more, ping, text
from pair import Pair, Scenario
from wire import deflate, eof, hello, pieces, send

_HELLO = b"\xf2H\xcd\xc9\xc9\x07\x00"
"""`Hello`, compressed (RFC 7692 section 7.2.3.1)."""
_WORDS = " ".join(str(number * 7919 % 1000) for number in range(2000))


def _final(message: bytes) -> bytes:
    """A message whose last block is marked as final (RFC 7692 section 7.2.3.4)."""
    stream = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -15)
    return stream.compress(message) + stream.flush(zlib.Z_FINISH) + b"\0"


def _three(compressor: Compressor) -> bytes:
    """Three messages that share a context, if there is one."""
    return compressor.text("Hello Hello") + compressor.text("Hello Hello") + compressor.binary(b"Hello Hello")


_INCOMING: dict[str, bytes] = {
    "hello": frame(TEXT, _HELLO, rsv=RSV1),
    "shared-context": _three(Compressor()),
    "own-contexts": _three(Compressor(takeover=False)),
    **{f"window-{bits}": _three(Compressor(bits)) for bits in range(9, 16)},
    "empty": frame(TEXT, b"\0", rsv=RSV1),
    "no-payload": frame(TEXT, b"", rsv=RSV1),
    "not-compressed": text("plain"),
    "both": text("plain") + Compressor().text("compressed") + text("plain"),
    "fragments": frame(TEXT, _HELLO[:3], rsv=RSV1, fin=False)
    + more(_HELLO[3:5])
    + more(_HELLO[5:], fin=True),
    "empty-fragments": frame(TEXT, b"", rsv=RSV1, fin=False) + more(_HELLO) + more(b"", fin=True),
    "rsv-on-continuation": text("a", fin=False) + frame(CONTINUATION, _HELLO, rsv=RSV1),
    "rsv-on-both": frame(TEXT, _HELLO[:3], rsv=RSV1, fin=False) + frame(CONTINUATION, _HELLO[3:], rsv=RSV1),
    "rsv-on-ping": frame(PING, b"p", rsv=RSV1),
    "rsv-on-close": frame(CLOSE, b"\x03\xe8", rsv=RSV1),
    "rsv2": frame(TEXT, _HELLO, rsv=RSV1 | 0x20),
    "final-block": frame(TEXT, _final(b"final"), rsv=RSV1) * 2,
    "stored-block": frame(TEXT, b"\x00\x05\x00\xfa\xffHello\x00", rsv=RSV1),
    "bad-utf8": frame(TEXT, Compressor().payload(b"\xff\xfe"), rsv=RSV1),
    "ping-then-hello": ping(b"p") + frame(TEXT, _HELLO, rsv=RSV1),
    "opcode-3": frame(3, _HELLO, rsv=RSV1),
    "long": Compressor().text(_WORDS),
    "zeros": Compressor().binary(bytes(1 << 20)),
    "noise": Compressor().binary(random.Random(1).randbytes(1 << 18)),
}


@pytest.mark.parametrize("name", _INCOMING)
@pytest.mark.parametrize(
    "handler", ["/echo", "/echo?quiet", "/echo?plain", "/echo?bfinal", "/echo?fragments"]
)
def test_messages(contract: Pair, name: str, handler: str) -> None:
    """Every kind of message, on handlers that compress, do not, end their blocks, or send fragments."""
    contract.check(Scenario(name, [hello(handler, deflate()), send(_INCOMING[name] + close()), eof()]))


_BROKEN: dict[str, bytes] = {
    "reserved-block": frame(TEXT, b"\x06", rsv=RSV1),
    "garbage": frame(BINARY, b"\xff" * 20, rsv=RSV1),
    "cut": frame(TEXT, _HELLO[:4], rsv=RSV1),
    "too-far-back": frame(TEXT, b"\x02\x41\x01\x00", rsv=RSV1),
    "stored-length": frame(TEXT, b"\x00\x05\x00\x00\x00Hello", rsv=RSV1),
}


@pytest.mark.parametrize("name", _BROKEN)
def test_broken_messages(contract: Pair, name: str) -> None:
    """What does not inflate."""
    contract.check(Scenario(name, [hello("/echo", deflate()), send(_BROKEN[name] + close()), eof()]))


_PARAMETERS = (
    *(f"server_max_window_bits={bits}" for bits in range(8, 16)),
    "server_no_context_takeover",
    "server_no_context_takeover; server_max_window_bits=9",
    "client_max_window_bits",
)


@pytest.mark.parametrize("parameters", _PARAMETERS)
@pytest.mark.parametrize("handler", ["/echo", "/echo?fragments", "/echo?bfinal"])
def test_parameters(contract: Pair, parameters: str, handler: str) -> None:
    """The server's own compression follows what was agreed on: window, context."""
    compressor = Compressor()
    sent = _three(compressor) + compressor.text(_WORDS) + compressor.text(_WORDS) + compressor.text("")
    script = [*hello(handler, deflate(f"permessage-deflate; {parameters}")), send(sent + close()), eof()]
    contract.check(Scenario(parameters, script))


def test_byte_by_byte(contract: Pair) -> None:
    """Where the frames are cut does not matter."""
    sent = _INCOMING["fragments"] + _INCOMING["final-block"] + close()
    contract.check(Scenario("pieces", [hello("/echo", deflate()), pieces(sent), eof()]))


def test_ping_between_compressed_fragments(contract: Pair) -> None:
    """RFC 7692 section 6.1 says it again for compressed messages."""
    sent = frame(TEXT, _HELLO[:3], rsv=RSV1, fin=False) + ping(b"p") + more(_HELLO[3:], fin=True)
    deviation = Deviation(
        "ping-between-fragments",
        reference=b"\x88\x02\x03\xea",
        wshost=b"\x8a\x01p" + b"\xc1\x07" + _HELLO + b"\x88\x02\x03\xe8",
    )
    contract.check(Scenario("ping", [hello("/echo", deflate()), send(sent + close()), eof()], deviation))


def test_reserved_control_frame_between_compressed_fragments(contract: Pair) -> None:
    """It is not taken for a part of the message, which no filter can read."""
    sent = frame(TEXT, _HELLO[:3], rsv=RSV1, fin=False) + frame(0xB, b"\xff")
    deviation = Deviation("ping-between-fragments", b"\x88\x02\x03\xea", b"\x88\x02\x03\xeb")
    contract.check(Scenario("reserved", [hello("/echo", deflate()), send(sent + close()), eof()], deviation))
