"""Random sequences of client frames, most of them valid, and what the wanted deviations make of them.

The same seed gives the same sequence.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import frames
from frames import BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, TEXT

_BAD_UTF8 = (b"\xff", b"caf\xe9", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80")
_CUT_UTF8 = (b"\xe2\x82", b"\xf0\x9f\x99")
_CODES = (1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999, 5000, 65535)
_BAD_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999)


@dataclass(frozen=True)
class Frame:
    """A client frame."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    mask: bool = True
    length_bytes: int | None = None

    def wire(self) -> bytes:
        """Its bytes."""
        return frames.frame(
            self.opcode,
            self.payload,
            fin=self.fin,
            rsv=self.rsv,
            mask=self.mask,
            length_bytes=self.length_bytes,
        )

    @property
    def is_control(self) -> bool:
        """RFC 6455 section 5.5."""
        return self.opcode >= 8


@dataclass(frozen=True)
class Sequence:
    """What a client sends behind its opening handshake, before it ends its direction."""

    frames: tuple[Frame, ...]
    tail: bytes = b""
    """Bytes behind the frames: the beginning of another one."""
    deflate: bool = False
    """permessage-deflate was agreed on."""
    piece: int = 0
    """So many bytes are in a write; 0 for all in one."""

    def wire(self) -> bytes:
        """Its bytes."""
        return b"".join(frame.wire() for frame in self.frames) + self.tail


def sequence(seed: int) -> Sequence:
    """The sequence of this seed."""
    chance = random.Random(seed)
    deflate = chance.random() < 0.3
    compressor = frames.Compressor() if deflate else None
    made: list[Frame] = []
    for _ in range(chance.randrange(1, 7)):
        made += _message(chance, compressor) if chance.random() < 0.7 else [_control(chance)]
    if chance.random() < 0.3:
        number = chance.randrange(len(made))
        made[number] = _broken(chance, made[number])
    if chance.random() < 0.1:
        chance.shuffle(made)
    tail = b""
    if chance.random() < 0.2:
        last = made.pop()
        # Text is looked at as its bytes come (`utf8-in-fragments`): a piece of it must not be wrong already.
        size = len(last.wire()) if last.opcode not in (TEXT, CONTINUATION) else 6
        tail = last.wire()[: chance.randrange(size)]
    elif chance.random() < 0.9:
        made.append(_close(chance))
        if chance.random() < 0.2:
            made.append(_control(chance))
    size = sum(len(frame.payload) for frame in made)
    return Sequence(tuple(made), tail, deflate, chance.choice((0, 0, 0, 1, 7)) if size < 2000 else 0)


def _payload(chance: random.Random) -> bytes:
    size = chance.choice((0, 1, 5, 125, 126, 300, chance.randrange(2000)))
    if chance.random() < 0.02:
        size = chance.choice((65535, 65536))
    return chance.randbytes(size)


def _text(chance: random.Random) -> bytes:
    letters = "abc \0\x7f\u00e4\u20ac\ufffd\U0001f600"
    return "".join(chance.choices(letters, k=chance.choice((0, 1, 3, 40, 200)))).encode()


def _message(chance: random.Random, compressor: frames.Compressor | None) -> Iterator[Frame]:
    """A message in one fragment or several, with control frames between them now and then."""
    opcode = chance.choice((TEXT, BINARY))
    payload = _text(chance) if opcode == TEXT else _payload(chance)
    if opcode == TEXT and chance.random() < 0.1:
        payload += chance.choice(_BAD_UTF8 + _CUT_UTF8) + chance.choice((b"", b"a"))
    rsv = 0
    if compressor is not None and chance.random() < 0.7:
        payload, rsv = compressor.payload(payload), RSV1
        if chance.random() < 0.1:
            payload = chance.randbytes(chance.randrange(1, 20))
    cuts = sorted(chance.choices(range(len(payload) + 1), k=chance.choice((0, 0, 1, 2, 5))))
    starts, ends = [0, *cuts], [*cuts, len(payload)]
    for number, (start, end) in enumerate(zip(starts, ends)):
        yield Frame(
            CONTINUATION if number else opcode,
            payload[start:end],
            fin=number == len(cuts),
            rsv=0 if number else rsv,
        )
        if number < len(cuts) and chance.random() < 0.15:
            yield _close(chance) if chance.random() < 0.1 else _control(chance)


def _control(chance: random.Random) -> Frame:
    return Frame(chance.choice((PING, PING, PONG)), chance.randbytes(chance.choice((0, 1, 20, 125))))


def _close(chance: random.Random) -> Frame:
    if chance.random() < 0.1:
        return Frame(CLOSE, chance.choice((b"", b"\x03")))
    code = chance.choice(_BAD_CODES if chance.random() < 0.1 else _CODES)
    reason = chance.choice((b"", b"done", "Gr\u00fc\u00dfe".encode(), b"r" * 123))
    if chance.random() < 0.1:
        reason = chance.choice(_BAD_UTF8 + _CUT_UTF8)
    return Frame(CLOSE, struct.pack("!H", code) + reason)


def _broken(chance: random.Random, frame: Frame) -> Frame:
    """The frame with something that RFC 6455 does not allow."""
    return chance.choice(
        (
            replace(frame, mask=False),
            replace(frame, rsv=chance.choice((0x10, 0x20, 0x40, 0x50, 0x70))),
            replace(frame, opcode=chance.choice((3, 7, 0xB, 0xF))),
            replace(frame, opcode=CONTINUATION),
            replace(frame, opcode=TEXT),
            replace(frame, fin=not frame.fin),
            replace(frame, length_bytes=8),
            Frame(chance.choice((PING, PONG, CLOSE)), b"\x03\xe8" + b"x" * chance.choice((124, 300))),
            Frame(PING, b"p", fin=False),
        )
    )


def rewritten(sent: Sequence) -> tuple[Sequence, Sequence, set[str]]:
    """What to send to wshost and to the oracle, so that they answer alike, and the deviations in it.

    Without a deviation both are `sent` itself.
    """
    done: list[Frame] = []
    used: set[str] = set()
    # Where the open message begins in `done`, its first frame, and its payload until now.
    start = 0
    first: Frame | None = None
    payload = b""
    for number, frame in enumerate(sent.frames):
        rest = sent.frames[number + 1 :]
        if _is_refused(frame, first, sent.deflate):
            # Both say so and wait for a close frame; the deviations until then are not told here.
            sent = replace(sent, frames=sent.frames[: number + 1], tail=b"")
            return sent, replace(sent, frames=(*done, frame)), used
        if frame.opcode in (PING, PONG):
            if first is not None:
                # Before the message it does not disturb: no frame of the message has had an answer.
                used.add("ping-between-fragments")
            done.insert(start if first is not None else len(done), frame)
            start += 1
        elif frame.is_control:
            if first is not None:
                used.add("ping-between-fragments")
                del done[start:]
            if frame.opcode != CLOSE:
                sent, rest = replace(sent, frames=sent.frames[: number + 1], tail=b""), ()
            substitute, name = _instead_of(frame)
            if name:
                # Behind a close frame that is wrong nothing is read. The oracle, to which it is right, ends.
                used.add(name)
                return sent, replace(sent, frames=(*done, substitute), tail=b""), used
            return sent, replace(sent, frames=(*done, frame, *rest)), used
        else:
            if first is None:
                start, first, payload = len(done), frame, b""
            payload += frame.payload
            # With permessage-deflate the whole message is looked at, compressed or not.
            is_text = first.opcode == TEXT and not sent.deflate
            if frame.fin:
                first = None
            elif is_text and _is_beyond_repair(payload):
                used.add("utf8-in-fragments")
                sent = replace(sent, frames=sent.frames[: number + 1], tail=b"")
                return sent, replace(sent, frames=(*done, replace(frame, fin=True))), used
            done.append(frame)
    return sent, replace(sent, frames=tuple(done)), used


def _is_refused(frame: Frame, first: Frame | None, deflate: bool) -> bool:
    """Whether both servers end the connection for this frame, in the message that begins with `first`."""
    # pywebsocket: a continuation may have the bit, too.
    allowed_bits = RSV1 if deflate and not frame.is_control else 0
    if not frame.mask or frame.rsv & ~allowed_bits:
        return True
    if frame.is_control:
        return not frame.fin or len(frame.payload) > 125
    return (frame.opcode == CONTINUATION) != (first is not None)


def _instead_of(frame: Frame) -> tuple[Frame, str]:
    """A frame for which the oracle does what wshost does for this one, and the deviation's name."""
    if frame.opcode != CLOSE or len(frame.payload) < 2:
        return frame, ""
    code = int.from_bytes(frame.payload[:2], "big")
    if code < 1000 or 1004 <= code <= 1006 or 1015 <= code < 3000:
        return replace(frame, payload=b"\x03"), "close-code"
    try:
        frame.payload[2:].decode()
    except UnicodeDecodeError:
        return Frame(TEXT, b"\xff"), "close-reason"
    return frame, ""


def _is_beyond_repair(text: bytes) -> bool:
    """Whether nothing behind `text` can make it UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.reason != "unexpected end of data"
    return False
