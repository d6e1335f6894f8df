"""The client of `websockets` for our own server. `websockets` is an extra: import this where it is needed.

Refusals are answered as pywebsocket answers them, with `HTTP/1.0` in the status line. `websockets` takes
nothing older than 1.1 and would tell of an invalid message instead of the status.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from websockets.client import ClientProtocol
from websockets.sync.client import ClientConnection

_OLD = b"HTTP/1.0 "
_NEW = b"HTTP/1.1 "


class _Renewed:
    """What takes the bytes of a connection, which begin with the version that it expects."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._begin = b""
        self._has_begun = False

    def __call__(self, data: bytes) -> None:
        if not self._has_begun:
            data = self._begin + data
            if len(data) < len(_OLD) and _OLD.startswith(data):
                self._begin = data
                return
            self._has_begun = True
            if data.startswith(_OLD):
                data = _NEW + data[len(_OLD) :]
        self._take(data)


class Client(ClientConnection):
    """A connection whose refusal is `InvalidStatus`, with the server's status, fields and page."""

    def __init__(self, sock: socket.socket, protocol: ClientProtocol, **options: Any) -> None:
        protocol.receive_data = _Renewed(protocol.receive_data)  # type: ignore[method-assign]
        super().__init__(sock, protocol, **options)
