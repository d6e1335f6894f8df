"""Opens WebSockets over HTTP/2 (RFC 8441) on wptserve's own server, and prints what came of each, as JSON.

    python over_http2.py HANDLERS CERTIFICATE KEY

wptserve takes `dispatch`, `handshake` and `stream` from whichever pywebsocket3 the interpreter has. Nothing
here depends on how the bytes of a stream were cut into DATA frames.
"""

from __future__ import annotations

import json
import queue
import socket
import ssl
import sys
import threading
from typing import Any, Callable

from h2.config import H2Configuration  # type: ignore[import-not-found]
from h2.connection import H2Connection  # type: ignore[import-not-found]
from h2.events import (  # type: ignore[import-not-found]
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes  # type: ignore[import-not-found]
from wptserve.server import Http2WebTestRequestHandler, WebTestHttpd  # type: ignore[import-not-found]

SECONDS = 30.0
NOTES: queue.Queue[Any] = queue.Queue()
"""What handlers note with `import __main__; __main__.NOTES.put(...)`, and what threads die of."""

HELLO = b"\x81\x85\x00\x00\x00\x00hello"
CLOSE = b"\x88\x85\x00\x00\x00\x00\x03\xe8bye"
DEFLATE = ("sec-websocket-extensions", "permessage-deflate")


class Stream:
    """What came back on one stream."""

    def __init__(self) -> None:
        self.headers: list[list[str]] = []
        self.data = b""
        self.end: str | None = None

    def facts(self) -> dict[str, object]:
        """Everything that must be the same on every run."""
        return {"headers": self.headers, "data": self.data.hex(), "end": self.end}


class Client:
    """An HTTP/2 connection to the server."""

    def __init__(self, port: int, certificate: str) -> None:
        context = ssl.create_default_context(cafile=certificate)
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.streams: dict[int, Stream] = {}
        self.may_connect = False
        self.h2.initiate_connection()
        self._flush()
        self.wait(lambda: self.may_connect)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        # Without a GOAWAY, wptserve would go on reading.
        self.h2.close_connection()
        try:
            self._flush()
        except OSError:
            pass
        self.socket.close()

    def open(self, path: str, *fields: tuple[str, str], without: str = "") -> int:
        """Sends the opening handshake of RFC 8441, section 5.1."""
        headers = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":path", path),
            (":authority", "localhost"),
            ("sec-websocket-version", "13"),
            ("origin", "https://a.example"),
        ]
        given = {name for name, _ in fields}
        kept = [field for field in headers if field[0] != without and field[0] not in given]
        number: int = self.h2.get_next_available_stream_id()
        self.streams[number] = Stream()
        self.h2.send_headers(number, [*kept, *fields])
        self._flush()
        return number

    def send(self, number: int, data: bytes) -> None:
        self.h2.send_data(number, data)
        self._flush()

    def reset(self, number: int) -> None:
        self.h2.reset_stream(number)
        self._flush()

    def ended(self, number: int) -> Stream:
        """The stream, once it is over."""
        stream = self.streams[number]
        self.wait(lambda: stream.end is not None)
        return stream

    def wait(self, condition: Callable[[], object]) -> None:
        while not condition():
            received = self.socket.recv(65536)
            if not received:
                self._end_all("connection closed")
                return
            for event in self.h2.receive_data(received):
                self._take(event)
            self._flush()

    def _take(self, event: object) -> None:
        if isinstance(event, RemoteSettingsChanged):
            change = event.changed_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL)
            self.may_connect = self.may_connect or (change is not None and change.new_value == 1)
        elif isinstance(event, ResponseReceived):
            self.streams[event.stream_id].headers = [
                [name, value] for name, value in event.headers if name not in {"date", "server"}
            ]
        elif isinstance(event, DataReceived):
            self.streams[event.stream_id].data += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.streams[event.stream_id].end = "ended"
        elif isinstance(event, StreamReset):
            self.streams[event.stream_id].end = f"reset {event.error_code}"
        elif isinstance(event, ConnectionTerminated):
            self._end_all("connection terminated")

    def _end_all(self, how: str) -> None:
        for stream in self.streams.values():
            stream.end = stream.end or how

    def _flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())


class Scenarios:
    """Each method is a scenario."""

    def __init__(self, port: int, certificate: str) -> None:
        self._server = (port, certificate)

    def _talk(self, path: str, data: bytes = HELLO + CLOSE, *fields: tuple[str, str]) -> dict[str, object]:
        with Client(*self._server) as client:
            number = client.open(path, *fields)
            client.wait(lambda: client.streams[number].headers)
            if [":status", "200"] in client.streams[number].headers:
                client.send(number, data)
            return client.ended(number).facts()

    def _noted(self, *talk: Any) -> dict[str, object]:
        return {**self._talk(*talk), "notes": NOTES.get(timeout=SECONDS)}

    def echo(self) -> object:
        return self._talk("/echo")

    def ping_and_fragments(self) -> object:
        ping = b"\x89\x82\x00\x00\x00\x00hi"
        fragments = b"\x01\x83\x00\x00\x00\x00hel" + b"\x80\x82\x00\x00\x00\x00lo"
        return self._talk("/echo", ping + fragments + CLOSE)

    def large_binary(self) -> object:
        return self._talk("/echo", b"\x82\xfe\x30\x00" + bytes(4) + bytes(0x3000) + CLOSE)

    def deflate(self) -> object:
        compressed = b"\xc1\x87\x00\x00\x00\x00" + bytes.fromhex("ca48cdc9c90700")
        return self._talk("/echo", compressed + CLOSE, DEFLATE)

    def attributes(self) -> object:
        return self._noted("/attributes?x=1", CLOSE, DEFLATE, ("sec-websocket-protocol", "a, b"))

    def extra_headers(self) -> object:
        return self._talk("/extra")

    def server_closes(self) -> object:
        return self._talk("/closes", HELLO + b"\x88\x82\x00\x00\x00\x00\x0b\xb9")

    def handler_returns(self) -> object:
        return self._talk("/returns", CLOSE)

    def globals_are_of_one_request(self) -> object:
        return [self._talk("/counts", CLOSE), self._talk("/counts", CLOSE)]

    def not_masked(self) -> object:
        return self._talk("/echo", b"\x81\x05hello")

    def not_utf_8(self) -> object:
        return self._talk("/echo", b"\x81\x81\x00\x00\x00\x00\xff" + CLOSE)

    def _left_open(self, path: str, error: bool, *fields: tuple[str, str], without: str = "") -> object:
        # wptserve does not end the stream then. With `error`, its thread dies of what our packages raise.
        with Client(*self._server) as client:
            number = client.open(path, *fields, without=without)
            if not error:
                client.wait(lambda: client.streams[number].headers)
            elif not fields and not without:
                client.send(number, HELLO)
            noted = NOTES.get(timeout=SECONDS) if error else None
            # What went out before that has come when a later stream is over.
            later = client.open("/returns")
            client.send(later, CLOSE)
            client.ended(later)
            return {**client.streams[number].facts(), "error": noted}

    def handler_raises(self) -> object:
        return self._left_open("/raises", True)

    def handler_aborts(self) -> object:
        return self._left_open("/aborts_later", True)

    def peer_resets(self) -> object:
        with Client(*self._server) as client:
            number = client.open("/waits")
            client.send(number, HELLO)
            client.wait(lambda: client.streams[number].data)
            client.reset(number)
            return NOTES.get(timeout=SECONDS)

    def two_streams_of_a_connection(self) -> object:
        with Client(*self._server) as client:
            numbers = [client.open("/echo") for _ in range(2)]
            for data in (HELLO, HELLO, CLOSE):
                for number in numbers:
                    client.send(number, data)
            return [client.ended(number).facts() for number in numbers]

    def no_handler(self) -> object:
        return self._talk("/nowhere")

    def handshake_raises(self) -> object:
        return self._talk("/refuses")

    def handshake_exception(self) -> object:
        return self._talk("/refuses?status")

    def handshake_aborts(self) -> object:
        return self._left_open("/aborts", False)

    def version_8(self) -> object:
        return self._left_open("/echo", True, ("sec-websocket-version", "8"))

    def no_version(self) -> object:
        return self._left_open("/echo", True, without="sec-websocket-version")

    def wrong_protocol_list(self) -> object:
        return self._talk("/echo", b"", ("sec-websocket-protocol", "a, (b"))

    def no_subprotocol_chosen(self) -> object:
        return self._talk("/echo", b"", ("sec-websocket-protocol", "a"))

    def wrong_extensions(self) -> object:
        return self._talk("/echo", b"", ("sec-websocket-extensions", "permessage-deflate ("))


def note_error(failure: threading.ExceptHookArgs) -> None:
    NOTES.put([failure.exc_type.__name__, str(failure.exc_value)])


def main(handlers: str, certificate: str, key: str) -> None:
    server = WebTestHttpd(
        port=0,
        handler_cls=Http2WebTestRequestHandler,
        use_ssl=True,
        http2=True,
        certificate=certificate,
        key_file=key,
        ws_doc_root=handlers,
        config={},
    )
    threading.excepthook = note_error
    server.start()
    scenarios = Scenarios(server.port, certificate)
    names = [name for name in vars(Scenarios) if not name.startswith("_")]
    print(json.dumps({name: getattr(scenarios, name)() for name in names}), flush=True)
    server.stop()
    # Stream threads of wptserve look once a second whether their connection is over.
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
