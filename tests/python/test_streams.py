"""The message layer over somebody else's connection: any object with `read` and `write`.

Chromium's and web-platform-tests' harnesses bring such objects. It is used here inside this process, through
the wheel.
"""

import importlib.util
import socket
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Optional, Union

import pytest
from serving import SECONDS, Frame, client_frame, close_body

if importlib.util.find_spec("wshost") is None:
    pytest.skip(
        f"wshost is not installed in {sys.prefix}; `make test-python` installs it", allow_module_level=True
    )

from pywebsocket3 import common, stream
from pywebsocket3.extensions import PerMessageDeflateExtensionProcessor
from pywebsocket3.handshake import AbortedByUserException

Stream = Any


class Memory:
    """A connection that reads prepared bytes, a few at a time, and keeps what is written."""

    def __init__(self, incoming: bytes = b"", most: int = 3) -> None:
        self.incoming = incoming
        self.written: list[bytes] = []
        self.remote_addr = ("peer", 1)
        self._most = most

    def read(self, length: int) -> bytes:
        piece = self.incoming[: min(length, self._most)]
        self.incoming = self.incoming[len(piece) :]
        return piece

    def write(self, data: bytes) -> None:
        self.written.append(data)


class Socket:
    """A connection over a socket of Python's."""

    def __init__(self, ours: socket.socket) -> None:
        self.socket = ours
        self.socket.settimeout(SECONDS)
        self.remote_addr = ("pair", 0)

    def read(self, length: int) -> bytes:
        return self.socket.recv(length)

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)


class Request:
    """A request of somebody else's: no class of ours, and only what a stream needs."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.ws_close_code: Optional[int] = None
        self.ws_close_reason: Optional[str] = None


def options(mask_send: bool = False, unmask_receive: bool = True) -> Any:
    made = stream.StreamOptions()
    made.mask_send = mask_send
    made.unmask_receive = unmask_receive
    return made


def over(connection: Any, made: Any = None) -> tuple[Any, Stream]:
    """A request and its stream."""
    request: Any = Request(connection)
    request.ws_stream = stream.Stream(request, made or options())
    return request, request.ws_stream


Pair = tuple[tuple[Any, Stream], tuple[Any, Stream]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A server's and a client's request and stream, over a pair of sockets."""
    one, two = socket.socketpair()
    with one, two:
        yield over(Socket(one)), over(Socket(two), options(mask_send=True, unmask_receive=False))


def at_once(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_messages_arrive_whole_from_short_reads() -> None:
    long = "é" * 40_000
    frames = [
        client_frame(1, "héllo".encode()),
        client_frame(2, b"\x00\xff"),
        client_frame(1, b""),
        client_frame(1, b"fr", fin=False),
        client_frame(9, b"between"),
        client_frame(0, b"agm", fin=False),
        client_frame(0, b"ents"),
        client_frame(1, long.encode()),
    ]
    connection = Memory(b"".join(frames))
    _, receiver = over(connection)
    expected: list[Union[str, bytes]] = ["héllo", b"\x00\xff", "", "fragments", long]
    assert [receiver.receive_message() for _ in expected] == expected
    # The ping was answered where it stood, while the handler waited for the message around it.
    assert connection.written == [b"\x8a\x07between"]
    with pytest.raises(stream.ConnectionTerminatedException, match="closed connection"):
        receiver.receive_message()


def test_what_is_written_are_whole_frames() -> None:
    connection = Memory()
    _, sender = over(connection)
    sender.send_message("é")
    sender.send_message(b"\x01", binary=True)
    sender.send_message("a", end=False)
    sender.send_message("b", end=False)
    sender.send_message("")
    sender.send_ping("p")
    sender.send_message(b"x" * 65536, True, True)
    assert connection.written[:6] == [
        b"\x81\x02\xc3\xa9",
        b"\x82\x01\x01",
        b"\x01\x01a",
        b"\x00\x01b",
        b"\x80\x00",
        b"\x89\x01p",
    ]
    assert connection.written[6:] == [b"\x82\x7f" + (65536).to_bytes(8, "big") + b"x" * 65536]


def test_a_masking_side_masks_every_frame_anew() -> None:
    connection = Memory()
    _, sender = over(connection, options(mask_send=True, unmask_receive=False))
    for _ in range(8):
        sender.send_message("same")
    keys = set()
    for written in connection.written:
        assert written[:2] == b"\x81\x84"
        key, payload = written[2:6], written[6:]
        assert bytes(a ^ b for a, b in zip(key, payload)) == b"same"
        keys.add(key)
    assert len(keys) > 1


def test_both_ways(pair: Pair) -> None:
    (_, server), (_, client) = pair
    for message in ["hello", "", "é" * 1000, b"", b"\x00" * 100_000]:
        binary = isinstance(message, bytes)
        sending = at_once(lambda m=message, b=binary: client.send_message(m, binary=b))  # type: ignore[misc]
        assert server.receive_message() == message
        sending.join(SECONDS)
        assert server.get_last_received_opcode() == (common.OPCODE_BINARY if binary else common.OPCODE_TEXT)
        sending = at_once(lambda m=message, b=binary: server.send_message(m, binary=b))  # type: ignore[misc]
        assert client.receive_message() == message
        sending.join(SECONDS)


def test_closing_from_either_side(pair: Pair) -> None:
    (server_request, server), (client_request, client) = pair
    closing = at_once(lambda: client.close_connection(3001, "bye"))
    assert server.receive_message() is None
    closing.join(SECONDS)
    assert (server_request.ws_close_code, server_request.ws_close_reason) == (3001, "bye")
    # Without a dispatcher nobody is asked, and the answer is 1000.
    assert (client_request.ws_close_code, client_request.ws_close_reason) == (1000, "")
    for request in (server_request, client_request):
        assert (request.client_terminated, request.server_terminated) == (True, True)
    with pytest.raises(stream.BadOperationException):
        server.receive_message()
    with pytest.raises(stream.BadOperationException):
        server.send_message("late")
    server.close_connection()


def test_the_dispatcher_is_asked_how_to_close() -> None:
    class Dispatcher:
        def passive_closing_handshake(self, asked: Any) -> tuple[int, str]:
            assert asked is request
            return 4000, f"{asked.ws_close_code} {asked.ws_close_reason}"

    connection = Memory(client_frame(8, close_body(3001, "bye")))
    request, receiver = over(connection)
    request._dispatcher = Dispatcher()
    assert receiver.receive_message() is None
    assert connection.written == [b"\x88\x0a" + close_body(4000, "3001 bye")]


def test_an_abort_in_the_closing_handshake_comes_through() -> None:
    class Dispatcher:
        def passive_closing_handshake(self, _: Any) -> None:
            raise AbortedByUserException("enough")

    connection = Memory(client_frame(8))
    request, receiver = over(connection)
    request._dispatcher = Dispatcher()
    with pytest.raises(AbortedByUserException, match="enough"):
        receiver.receive_message()
    assert connection.written == []
    assert request.ws_close_code == common.STATUS_NO_STATUS_RECEIVED


def test_pings_and_pongs_reach_their_handlers() -> None:
    frames = client_frame(9, b"ping") + client_frame(10, b"pong") + client_frame(1, b"end")
    connection = Memory(frames)
    request, receiver = over(connection)
    told: list[tuple[str, Any, bytes]] = []
    request.on_ping_handler = lambda request, body: told.append(("ping", request, body))
    request.on_pong_handler = lambda request, body: told.append(("pong", request, body))
    assert receiver.receive_message() == "end"
    assert told == [("ping", request, b"ping"), ("pong", request, b"pong")]
    # Who takes pings answers them.
    assert connection.written == []


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        (b"\x81\x01a", stream.InvalidFrameException),  # not masked
        (client_frame(1, b"\xff"), stream.InvalidUTF8Exception),
        (client_frame(3, b""), stream.UnsupportedFrameException),
        (client_frame(1, b"", rsv1=True), stream.UnsupportedFrameException),
        (client_frame(9, b"x" * 126), stream.InvalidFrameException),
        (client_frame(9, b"", fin=False), stream.InvalidFrameException),
        (client_frame(0, b"x"), stream.InvalidFrameException),
        (client_frame(1, b"x", fin=False) + client_frame(1, b"x"), stream.InvalidFrameException),
        (client_frame(8, b"x"), stream.InvalidFrameException),
        (client_frame(1, b"x")[:-1], stream.ConnectionTerminatedException),
        (b"\x81", stream.ConnectionTerminatedException),
    ],
)
def test_what_breaks_the_protocol(frames: bytes, error: type[Exception]) -> None:
    _, receiver = over(Memory(frames))
    with pytest.raises(error):
        receiver.receive_message()


def test_errors_of_the_connection() -> None:
    class Broken(Memory):
        def read(self, length: int) -> bytes:
            raise OSError(5, "broken")

        def write(self, data: bytes) -> None:
            raise OSError(32, "gone")

    _, broken = over(Broken())
    with pytest.raises(stream.ConnectionTerminatedException, match="broken"):
        broken.receive_message()
    with pytest.raises(BrokenPipeError) as gone:
        broken.send_message("x")
    assert gone.value.args == ("Failed to send message to ('peer', 1): [Errno 32] gone",)

    class Odd(Memory):
        def read(self, length: int) -> bytes:
            raise KeyError("odd")

    _, odd = over(Odd())
    with pytest.raises(KeyError, match="odd"):
        odd.receive_message()


def test_raw_access() -> None:
    connection = Memory(b"raw" + client_frame(5, b"abc", fin=False, rsv1=True) + client_frame(2, b"xyz"))
    _, raw = over(connection)
    assert raw.receive_bytes(3) == b"raw"
    assert raw._receive_frame() == (5, b"abc", 0, 1, 0, 0)
    frame = raw._receive_frame_as_frame_object()
    assert (frame.opcode, frame.payload, frame.fin, frame.rsv1) == (2, b"xyz", 1, 0)
    assert raw._get_message_from_frame(frame) == b"xyz"
    raw._write(b"\x00")
    raw._send_pong(b"p")
    assert connection.written == [b"\x00", b"\x8a\x01p"]


def deflating(made: Any, response: Callable[[Any], None] = lambda processor: None) -> Any:
    """Sets up permessage-deflate on stream options, as a server that was offered it without parameters."""
    processor = PerMessageDeflateExtensionProcessor(common.ExtensionParameter("permessage-deflate"))
    response(processor)
    assert processor.get_extension_response() is not None
    processor.setup_stream_options(made)
    return processor


@pytest.fixture
def deflating_pair() -> Iterator[Pair]:
    one, two = socket.socketpair()
    with one, two:
        server, client = options(), options(mask_send=True, unmask_receive=False)
        deflating(server)
        deflating(client)
        yield over(Socket(one), server), over(Socket(two), client)


def test_deflate_both_ways(deflating_pair: Pair) -> None:
    (_, server), (_, client) = deflating_pair
    text = "the same words again, " * 5000
    for sender, receiver in [(client, server), (server, client)]:
        for message in ["", text, text, b"\x00" * 1000, text.encode()]:
            sender.send_message(message, binary=isinstance(message, bytes))
            assert receiver.receive_message() == message
        for piece, end in [("one ", False), ("", False), ("two", True)]:
            sender.send_message(piece, end)
        assert receiver.receive_message() == "one two"
        sender.send_ping("ping")
        sender.send_message("after")
        assert receiver.receive_message() == "after"


def test_deflate_on_the_wire() -> None:
    connection = Memory(most=1 << 20)
    made = options()
    processor = deflating(made)
    _, sender = over(connection, made)
    message = b"hello hello hello"
    sender.send_message(message, binary=True)
    sender.send_message(message, binary=True)
    processor.disable_outgoing_compression()
    sender.send_message(message, binary=True)
    first, second, third = (parsed(data) for data in connection.written)
    assert (first.rsv1, second.rsv1, third.rsv1) == (True, True, False)
    inflate = zlib.decompressobj(-15)
    for frame in (first, second):
        assert inflate.decompress(frame.payload + b"\x00\x00\xff\xff") == message
    assert len(second.payload) < len(first.payload), "the second one refers to the first"
    assert third.payload == message


def parsed(data: bytes) -> Frame:
    """A short frame of a server."""
    assert len(data) == 2 + data[1] < 128
    return Frame(data[0] & 0xF, data[2:], bool(data[0] & 0x80), bool(data[0] & 0x40))
