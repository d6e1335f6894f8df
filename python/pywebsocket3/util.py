"""Maskers, DEFLATE and small helpers."""

from __future__ import annotations

import logging
import re
import traceback
import zlib
from typing import Protocol

from wshost._native import (
    NoopMasker,
    RepeatedXorMasker,
    _Deflater,
    _Inflater,
    _RFC1979Deflater,
    _RFC1979Inflater,
    hexify,
    pack_byte,
    prepend_message_to_exception,
)

__all__ = [
    "DeflateSocket",
    "NoopMasker",
    "RepeatedXorMasker",
    "_Deflater",
    "_Inflater",
    "_RFC1979Deflater",
    "_RFC1979Inflater",
    "get_class_logger",
    "get_script_interp",
    "get_stack_trace",
    "hexify",
    "pack_byte",
    "prepend_message_to_exception",
]


def get_script_interp(script_path: str, cygwin_path: str | None = None) -> str | None:
    """The interpreter command line behind a script's `#!`, or `None` when it has none.

    With `cygwin_path` the interpreter's folder is replaced by that one.
    """
    with open(script_path) as script:
        shebang = re.match("#!(.*)", script.readline())
    if shebang is None:
        return None
    command = shebang.group(1)
    if cygwin_path:
        program = re.match("[^ ]*/([^ ]+)( .*)?", command)
        if program is not None:
            return f"{cygwin_path}/{program.group(1)}{program.group(2) or ''}"
    return command


def get_stack_trace() -> str:
    """The traceback of the exception that is being handled. (pywebsocket had this before 4.)"""
    return traceback.format_exc()


def get_class_logger(o: object) -> logging.Logger:
    """The logger named after the class of `o`, its module included."""
    return logging.getLogger(f"{o.__class__.__module__}.{o.__class__.__name__}")


class _Socket(Protocol):
    def recv(self, size: int, /) -> bytes: ...

    def sendall(self, data: bytes, /) -> object: ...


class DeflateSocket:
    """A socket whose bytes are compressed on the way out and inflated on the way in."""

    # Size in bytes of one read of compressed data.
    _RECV_SIZE = 4096

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket
        self._logger = get_class_logger(self)
        self._deflater = _Deflater(zlib.MAX_WBITS)
        self._inflater = _Inflater(zlib.MAX_WBITS)

    def recv(self, size: int) -> bytes:
        """Up to `size` inflated bytes, at least one; `b''` at the end. Raises `Exception` for 0 and less."""
        if size <= 0:
            raise Exception("Non-positive size passed")
        while True:
            data = self._inflater.decompress(size)
            if data:
                return data
            received = self._socket.recv(self._RECV_SIZE)
            if not received:
                return b""
            self._inflater.append(received)

    def sendall(self, bytes: bytes) -> None:
        """Sends all of `bytes`."""
        self.send(bytes)

    def send(self, bytes: bytes) -> int:
        """Sends all of `bytes` and returns their number."""
        self._socket.sendall(self._deflater.compress_and_flush(bytes))
        return len(bytes)
