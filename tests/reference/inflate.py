"""Compressed server frames, made comparable: what they mean instead of how they were compressed.

RFC 7692 leaves the choice of blocks and matches to the sender. zlib (the oracle) and zlib-rs (wshost) choose
alike for most single messages, but not always once there is a context, so transcripts that differ in bytes
are compared a second time with the payloads inflated. Inflating keeps to the agreed parameters: a reference
back beyond `server_max_window_bits`, or into an earlier message under `server_no_context_takeover`, is an
error.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field

from frames import RSV1, server_frame_size
from wire import Event, Transcript

_FLUSH = b"\x00\x00\xff\xff"


@dataclass
class _Inflater:
    """The receiving half of one connection's permessage-deflate."""

    window_bits: int
    takeover: bool
    _context: zlib._Decompress = field(init=False)
    _in_message: bool = False

    def __post_init__(self) -> None:
        self._context = zlib.decompressobj(-self.window_bits)

    def frame(self, frame: bytes) -> bytes:
        """The frame with its payload inflated, if it is compressed; a mark tells that apart."""
        first, payload = frame[0], frame[_head_size(frame) :]
        opcode, final = first & 0x0F, bool(first & 0x80)
        if opcode >= 8 or (opcode and not first & RSV1) or (not opcode and not self._in_message):
            return frame
        self._in_message = not final
        message = self._inflate(payload + (_FLUSH if final else b""))
        if final and not self.takeover:
            self._context = zlib.decompressobj(-self.window_bits)
        return b"<%02x " % first + message + b">"

    def _inflate(self, data: bytes) -> bytes:
        message = self._context.decompress(data)
        while self._context.eof:
            # A block that says it is the last: what follows is a stream of its own.
            rest, self._context = self._context.unused_data, zlib.decompressobj(-self.window_bits)
            message += b"|" + self._context.decompress(rest)
        return message


def _head_size(frame: bytes) -> int:
    return {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)


def inflated(transcript: Transcript) -> Transcript:
    """The transcript with every compressed frame inflated; unchanged where nothing was agreed on."""
    inflaters: dict[str, _Inflater] = {}
    return [_inflated(event, inflaters) for event in transcript]


def _inflated(event: Event, inflaters: dict[str, _Inflater]) -> Event:
    data, head = event.data, b""
    if data.startswith(b"HTTP/1.1 101"):
        head, _, data = data.partition(b"\r\n\r\n")
        agreed = re.search(rb"^Sec-WebSocket-Extensions: permessage-deflate(.*)$", head, re.MULTILINE)
        if agreed:
            bits = re.search(rb"server_max_window_bits=(\d+)", agreed[1])
            inflaters[event.on] = _Inflater(
                # zlib knows no window of 8 bits; its own sender takes 9, too.
                max(int(bits[1]), 9) if bits else 15,
                b"server_no_context_takeover" not in agreed[1],
            )
    inflater = inflaters.get(event.on)
    if inflater is None:
        return event
    readable = [head]
    while data:
        size = server_frame_size(data)
        if size is None or size > len(data):
            readable.append(data)
            break
        readable.append(inflater.frame(data[:size]))
        data = data[size:]
    return Event(event.on, event.what, b"\n".join(readable))
