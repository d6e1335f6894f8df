"""Client frames to send, byte for byte the same on every run, and the boundaries of server frames."""

from __future__ import annotations

import struct
import zlib

MASK = b"\x5a\x01\xfe\x93"
"""Every client frame uses this mask."""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10


def masked(payload: bytes, mask: bytes = MASK) -> bytes:
    """`payload` as it goes over the wire."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bool = True,
    length_bytes: int | None = None,
) -> bytes:
    """A client frame (RFC 6455 section 5.2), broken in the ways that are asked for.

    `length_bytes` (0, 2 or 8) forces that many bytes of extended length; `None` takes the fewest.
    """
    size = len(payload)
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 1 << 16 else 8
    bit = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    if length_bytes == 0:
        head += bytes([bit | size])
    elif length_bytes == 2:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    return head + MASK + masked(payload) if mask else head + payload


def text(message: str, *, fin: bool = True) -> bytes:
    """A text message, or its first fragment."""
    return frame(TEXT, message.encode(), fin=fin)


def binary(message: bytes, *, fin: bool = True) -> bytes:
    """A binary message, or its first fragment."""
    return frame(BINARY, message, fin=fin)


def more(payload: bytes, *, fin: bool = False) -> bytes:
    """A continuation frame."""
    return frame(CONTINUATION, payload, fin=fin)


def ping(payload: bytes = b"") -> bytes:
    """A ping."""
    return frame(PING, payload)


def pong(payload: bytes = b"") -> bytes:
    """A pong."""
    return frame(PONG, payload)


def close(code: int | None = 1000, reason: str = "") -> bytes:
    """A close frame; with `code=None` its body is empty."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


class Compressor:
    """The client's half of permessage-deflate (RFC 7692) with one context for all its messages."""

    def __init__(self, window_bits: int = 15, *, takeover: bool = True) -> None:
        self._window_bits = window_bits
        self._takeover = takeover
        self._deflate = self._fresh()

    def _fresh(self) -> zlib._Compress:
        return zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -self._window_bits)

    def payload(self, message: bytes) -> bytes:
        """The compressed payload of one message (RFC 7692 section 7.2.1)."""
        data = self._deflate.compress(message) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        if not self._takeover:
            self._deflate = self._fresh()
        assert data.endswith(b"\x00\x00\xff\xff")
        return data[:-4]

    def text(self, message: str) -> bytes:
        """A compressed text message in one frame."""
        return frame(TEXT, self.payload(message.encode()), rsv=RSV1)

    def binary(self, message: bytes) -> bytes:
        """A compressed binary message in one frame."""
        return frame(BINARY, self.payload(message), rsv=RSV1)


def server_frame_size(data: bytes | bytearray) -> int | None:
    """Length of the server frame at the start of `data`, header included; `None` while that is unknown."""
    if len(data) < 2:
        return None
    size = data[1] & 0x7F
    head = 2 + (4 if data[1] & 0x80 else 0)
    if size == 126:
        head += 2
        if len(data) < 4:
            return None
        size = struct.unpack_from("!H", data, 2)[0]
    elif size == 127:
        head += 8
        if len(data) < 10:
            return None
        size = struct.unpack_from("!Q", data, 2)[0]
    return head + size
