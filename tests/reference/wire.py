"""A scripted client: the same steps, the same bytes, against any server; what comes back is a transcript.

Every wait is for bytes or for the end of the stream, up to a deadline; nothing sleeps. A step that runs into
its deadline is written down as a timeout, and a transcript with a timeout never compares equal.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Union

import frames
from servers import Server

DEADLINE_SECONDS = 60.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The sample key of RFC 6455 section 1.3."""


@dataclass(frozen=True)
class Step:
    """One action of the client on one of its connections; a connection opens with its first step."""

    action: str
    data: bytes = b""
    count: int = 0
    on: str = "a"


Script = Union[Step, Sequence["Script"]]
"""A step, or steps in lists of any depth."""


def send(data: bytes, on: str = "a") -> Step:
    """Sends `data` in one write."""
    return Step("send", data, on=on)


def pieces(data: bytes, size: int = 1, on: str = "a") -> Step:
    """Sends `data` in writes of `size` bytes."""
    return Step("pieces", data, size, on)


def flood(data: bytes, on: str = "a") -> Step:
    """Sends as much of `data` as the server lets pass, and notes whether that was everything."""
    return Step("flood", data, on=on)


def head(on: str = "a") -> Step:
    """Reads up to the empty line that ends a response head."""
    return Step("head", on=on)


def read(count: int, on: str = "a") -> Step:
    """Reads exactly `count` bytes."""
    return Step("read", count=count, on=on)


def receive(count: int = 1, on: str = "a") -> Step:
    """Reads `count` server frames, whole."""
    return Step("receive", count=count, on=on)


def half_close(on: str = "a") -> Step:
    """Ends the client's direction (FIN); the server's stays open."""
    return Step("half_close", on=on)


def reset(on: str = "a") -> Step:
    """Drops the connection with an RST."""
    return Step("reset", on=on)


def eof(on: str = "a") -> Step:
    """Reads what is left until the server ends the connection, and notes how it did."""
    return Step("eof", on=on)


def journal(count: int = 1) -> Step:
    """Waits for `count` notes of the handler. Sorted: notes of different threads have no order."""
    return Step("journal", count=count)


def connect(on: str = "a") -> Step:
    """Opens a connection and sends nothing."""
    return Step("connect", on=on)


def request(
    path: str = "/",
    headers: Mapping[str, str | None] | None = None,
    *,
    method: str = "GET",
    version: str = "HTTP/1.1",
) -> bytes:
    """An opening handshake. `headers` replaces or adds; `None` leaves one out."""
    fields: dict[str, str | None] = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        **(headers or {}),
    }
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    return f"{method} {path} {version}\r\n{''.join(lines)}\r\n".encode("latin-1")


def hello(path: str, headers: Mapping[str, str | None] | None = None, on: str = "a") -> list[Step]:
    """Opening handshake, up to the end of the response head."""
    return [send(request(path, headers), on), head(on)]


def refused(path: str, headers: Mapping[str, str | None] | None = None, on: str = "a") -> list[Step]:
    """Opening handshake, up to the end of the connection."""
    return [send(request(path, headers), on), eof(on)]


def deflate(offer: str = "permessage-deflate") -> dict[str, str | None]:
    """Header of an extension offer, for `hello`."""
    return {"Sec-WebSocket-Extensions": offer}


def goodbye(on: str = "a", code: int | None = 1000) -> list[Step]:
    """Client's close frame, the answer to it, end of the connection."""
    return [send(frames.close(code), on), eof(on)]


@dataclass(frozen=True)
class Event:
    """What came of a step."""

    on: str
    what: str
    data: bytes = b""

    def __str__(self) -> str:
        data = self.data if len(self.data) <= 400 else self.data[:400] + b"... %d bytes" % len(self.data)
        return f"{self.on} {self.what} {data!r}"


Transcript = list[Event]


class _Ended(Exception):
    """The awaited bytes will not come; the text says why."""


@dataclass
class _Connection:
    """Client's end, with what was received and not yet asked for."""

    socket: socket.socket
    unread: bytearray = field(default_factory=bytearray)

    def fill(self, deadline: float) -> None:
        """Waits for more bytes."""
        self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = self.socket.recv(1 << 20)
        except socket.timeout:
            raise _Ended("timeout") from None
        except OSError:
            raise _Ended("reset") from None
        if not data:
            raise _Ended("eof")
        self.unread += data

    def take(self, count: int) -> bytes:
        data = bytes(self.unread[:count])
        del self.unread[:count]
        return data


class Client:
    """Runs a script against one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connections: dict[str, _Connection] = {}
        self.transcript: Transcript = []

    def run(self, script: Script) -> Transcript:
        """Runs every step; a stream that ends too early ends the script."""
        self._drain_journal()
        try:
            for step in flat(script):
                if not self._do(step):
                    break
        finally:
            for connection in self._connections.values():
                connection.socket.close()
        return self.transcript

    def _drain_journal(self) -> None:
        """Forgets late notes of the scenario before."""
        while select.select([self._server.journal], [], [], 0)[0]:
            self._server.journal.recv(1 << 16)

    def _do(self, step: Step) -> bool:
        if step.action == "journal":
            return self._journal(step)
        deadline = time.monotonic() + DEADLINE_SECONDS
        connection = self._connection(step.on)
        if step.action in ("head", "read", "receive", "eof"):
            return self._read(connection, step, deadline)
        connection.socket.settimeout(DEADLINE_SECONDS)
        try:
            self._write(connection, step)
        except OSError:
            # The server may have ended the connection already; what it sent before tells.
            return True
        return True

    def _connection(self, name: str) -> _Connection:
        if name not in self._connections:
            opened = socket.create_connection(("127.0.0.1", self._server.port), DEADLINE_SECONDS)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[name] = _Connection(opened)
        return self._connections[name]

    def _write(self, connection: _Connection, step: Step) -> None:
        if step.action == "send":
            connection.socket.sendall(step.data)
        elif step.action == "pieces":
            for start in range(0, len(step.data), step.count):
                connection.socket.sendall(step.data[start : start + step.count])
        elif step.action == "flood":
            self._flood(connection, step)
        elif step.action == "half_close":
            connection.socket.shutdown(socket.SHUT_WR)
        elif step.action == "reset":
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.socket.close()

    def _flood(self, connection: _Connection, step: Step) -> None:
        connection.socket.setblocking(False)
        rest = memoryview(step.data)
        # Not writable for this long counts as blocked: a slow machine can only make a wrong server pass.
        while rest and select.select([], [connection.socket], [], 0.3)[1]:
            rest = rest[connection.socket.send(rest) :]
        self.transcript.append(Event(step.on, "blocked" if rest else "all sent"))

    def _journal(self, step: Step) -> bool:
        notes: list[bytes] = []
        self._server.journal.settimeout(DEADLINE_SECONDS)
        try:
            while len(notes) < step.count:
                notes.append(self._server.journal.recv(1 << 16))
        except socket.timeout:
            self.transcript.append(Event("journal", "timeout", b"\n".join(sorted(notes))))
            return False
        self.transcript.append(Event("journal", "notes", b"\n".join(sorted(notes))))
        return True

    def _read(self, connection: _Connection, step: Step, deadline: float) -> bool:
        try:
            if step.action == "receive":
                for _ in range(step.count):
                    self._note(step, self._take_frame(connection, deadline))
            elif step.action == "head":
                while b"\r\n\r\n" not in connection.unread:
                    connection.fill(deadline)
                end = connection.unread.index(b"\r\n\r\n") + 4
                self._note(step, connection.take(end))
            elif step.action == "read":
                while len(connection.unread) < step.count:
                    connection.fill(deadline)
                self._note(step, connection.take(step.count))
            else:
                while True:
                    connection.fill(deadline)
        except _Ended as end:
            rest = connection.take(len(connection.unread))
            self.transcript.append(Event(step.on, f"{step.action}: {end}", _without_clock(rest)))
            return step.action == "eof" and str(end) != "timeout"
        return True

    def _take_frame(self, connection: _Connection, deadline: float) -> bytes:
        while True:
            size = frames.server_frame_size(connection.unread)
            if size is not None and len(connection.unread) >= size:
                return connection.take(size)
            connection.fill(deadline)

    def _note(self, step: Step, data: bytes) -> None:
        self.transcript.append(Event(step.on, step.action, _without_clock(data)))


def flat(script: Script) -> Iterator[Step]:
    """The steps of `script` in order."""
    if isinstance(script, Step):
        yield script
    else:
        for item in script:
            yield from flat(item)


_CLOCK = re.compile(rb"^(Server|Date): [^\r\n]*", re.MULTILINE)


def _without_clock(data: bytes) -> bytes:
    """`data` with the values that may differ between two servers replaced."""
    return _CLOCK.sub(rb"\1: *", data) if data.startswith(b"HTTP/") else data


# How an error page of `http.server` begins before and since Python 3.11.
_OLD_PAGE = (
    b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN"\n        "http://www.w3.org/TR/html4/strict.dtd">\n'
    b'<html>\n    <head>\n        <meta http-equiv="Content-Type" content="text/html;charset=utf-8">\n'
)
_NEW_PAGE = b'<!DOCTYPE HTML>\n<html lang="en">\n    <head>\n        <meta charset="utf-8">\n'
_LENGTH = re.compile(rb"(?<=text/html;charset=utf-8\r\nContent-Length: )\d+")
_NAMED_CODE = re.compile(rb"(Error code: (\d+)<.*explanation: )HTTPStatus\.\w+", re.DOTALL)


def modern(transcript: Transcript) -> Transcript:
    """What an oracle on a Python before 3.11 says, with the error pages of later ones, as wshost has."""
    if sys.version_info >= (3, 11):
        return transcript
    return [Event(event.on, event.what, _modern(event.data)) for event in transcript]


def _modern(data: bytes) -> bytes:
    if not re.match(rb"HTTP/1.0 [45]|<!DOCTYPE", data):
        return data
    old = len(data)
    data = _NAMED_CODE.sub(rb"\1\2", data.replace(_OLD_PAGE, _NEW_PAGE))
    # The answer to HEAD has the length, but no page.
    shorter = old - len(data) or len(_OLD_PAGE) - len(_NEW_PAGE)
    return _LENGTH.sub(lambda length: b"%d" % (int(length[0]) - shorter), data, count=1)
