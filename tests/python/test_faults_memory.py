"""No memory for a message, or too many large ones at once: that costs its connection. Memory goes back."""

import contextlib
import functools
import os
import resource
import select
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import ECHO, SECONDS, RawClient, Server, Start, close_body, handler, wait_until, write

MIB = 1 << 20
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"

# Says how long each message is, and lets go of it.
MEASURES = handler(
    """
    while (message := request.ws_stream.receive_message()) is not None:
        size = len(message)
        del message
        request.ws_stream.send_message(str(size))
    """
)

prlimit = getattr(resource, "prlimit", None)
needs_prlimit = pytest.mark.skipif(prlimit is None, reason="only Linux limits other processes")


@contextlib.contextmanager
def room_for(server: Server, size: int) -> Iterator[None]:
    """Inside, the server can have so much more memory than it has now."""
    assert prlimit is not None
    before = prlimit(server.process.pid, resource.RLIMIT_AS)
    prlimit(server.process.pid, resource.RLIMIT_AS, (server.memory("VmSize") + size, before[1]))
    try:
        yield
    finally:
        if server.process.poll() is None:
            prlimit(server.process.pid, resource.RLIMIT_AS, before)


@contextlib.contextmanager
def echoes_throughout(server: Server) -> Iterator[None]:
    """Another connection, which is served all the time."""
    over = threading.Event()
    failures: list[BaseException] = []
    with server.raw("/echo") as client:
        client.send(1, b"first")
        assert answer(client) == b"first"

        def echo() -> None:
            try:
                while not over.wait(0.005):
                    client.send(1, b"alive")
                    assert answer(client) == b"alive"
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=echo)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(SECONDS)
        assert not thread.is_alive()
        assert not failures, failures


def head(opcode: int, length: int, fin: bool = True, rsv1: bool = False) -> bytes:
    """The head of a frame; its mask changes nothing."""
    return bytes([fin << 7 | rsv1 << 6 | opcode, 0xFF]) + length.to_bytes(8, "big") + bytes(4)


def filler(text: bytes) -> bytes:
    """A MiB of the same."""
    return text * (MIB // len(text))


@functools.cache
def deflated(text: bytes, size: int) -> bytes:
    """The payload of a message that is always the same."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
    pieces = [compressor.compress(filler(text)) for _ in range(size // MIB)]
    return b"".join([*pieces, compressor.flush(zlib.Z_SYNC_FLUSH)])[:-4]


def plain(opcode: int, text: bytes, size: int) -> Iterator[bytes]:
    yield head(opcode, size)
    yield from [filler(text)] * (size // MIB)


def fragments(opcode: int, text: bytes, size: int) -> Iterator[bytes]:
    count = size // MIB
    for number in range(count):
        yield head(0 if number else opcode, MIB, fin=number == count - 1) + filler(text)


def compressed(opcode: int, text: bytes, size: int) -> Iterator[bytes]:
    payload = deflated(text, size)
    yield head(opcode, len(payload), rsv1=True) + payload


def compressed_fragments(opcode: int, text: bytes, size: int) -> Iterator[bytes]:
    payload = deflated(text, size)
    half = len(payload) // 2
    yield head(opcode, half, fin=False, rsv1=True) + payload[:half]
    yield head(0, len(payload) - half) + payload[half:]


Message = Callable[[int, bytes, int], Iterator[bytes]]
MESSAGES: list[Message] = [plain, fragments, compressed, compressed_fragments]
NAMES = [message.__name__ for message in MESSAGES]
WITH_AND_WITHOUT = [(message, [DEFLATE]) for message in MESSAGES] + [(plain, []), (fragments, [])]
NAMES_WITH_AND_WITHOUT = [*(f"{name}-deflate" for name in NAMES), "plain", "fragments"]


def pour(client: RawClient, pieces: Iterator[bytes]) -> None:
    """Sends as much as is taken before there is an answer."""
    for piece in pieces:
        if select.select([client.socket], [], [], 0)[0]:
            return
        client.socket.sendall(piece)


def answer(client: RawClient) -> bytes:
    """The payload of the next frame, which is inflated with no other one before it."""
    frame = client.frame()
    if not frame.rsv1:
        return frame.payload
    return zlib.decompressobj(-15).decompress(frame.payload + b"\0\0\xff\xff")


def is_well(server: Server) -> None:
    assert server.ask("/echo", "new") == "new"
    assert server.process.poll() is None
    assert "anic" not in server.log.text, server.log.text


@needs_prlimit
@pytest.mark.parametrize(("message", "extension"), WITH_AND_WITHOUT, ids=NAMES_WITH_AND_WITHOUT)
def test_no_memory_for_a_message(
    start: Start, tmp_path: Path, way: str, message: Message, extension: list[str]
) -> None:
    """Of any size, it is taken as a whole or ends its connection with 1009."""
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "a_wsh.py", MEASURES)
    server = start(way=way)
    answers = set()
    with echoes_throughout(server):
        for size, text in [(4, b"a"), (50, b"a"), (90, b"\0"), (50, b"\xc3\xa9"), (110, b"a"), (240, b"\0")]:
            opcode = 1 + text.startswith(b"\0")
            with server.raw("/a", *extension) as client, room_for(server, 130 * MIB):
                pour(client, message(opcode, text, size * MIB))
                answers.add(got := answer(client))
            assert got in (close_body(1009), str(size * MIB // len(text)).encode()), size
    assert {close_body(1009), str(4 * MIB).encode()} <= answers
    server.log.wait_for("There is no memory for a message; it is closed with 1009")
    is_well(server)


# Goes on behind whatever a message was refused for.
GOES_ON = handler(
    """
    while True:
        try:
            answer = request.ws_stream.receive_message()
        except Exception as error:
            answer = f"{type(error).__name__}: {error.__cause__!r}"
        if answer is None:
            return
        request.ws_stream.send_message(answer)
    """
)


@needs_prlimit
@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_a_handler_can_go_on_without_the_message(start: Start, tmp_path: Path, message: Message) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "a_wsh.py", GOES_ON)
    server = start()
    with server.raw("/a", DEFLATE) as client, room_for(server, 60 * MIB):
        pour(client, message(2, b"\0", 100 * MIB))
        assert answer(client) == b"MessageTooBigException: MemoryError()"
    is_well(server)


@pytest.mark.parametrize("opening", [b"", head(1, 1, fin=False) + b"a"], ids=["message", "fragments"])
def test_a_text_that_breaks_where_its_memory_grows(start: Start, tmp_path: Path, opening: bytes) -> None:
    write(tmp_path, "a_wsh.py", GOES_ON)
    with start().raw("/a") as client:
        opcode = 0 if opening else 1
        client.socket.sendall(opening + head(opcode, 17 * MIB) + b"a" * (16 * MIB - 1) + b"\xff")
        assert answer(client) == b"InvalidUTF8Exception: None"
        client.socket.sendall(b"b" * MIB)
        client.send(opcode, b"next")
        assert answer(client).endswith(b"next")


@needs_prlimit
def test_no_memory_for_what_others_read_for_us(start: Start, tmp_path: Path) -> None:
    """A connection that is an object of a handler's own."""
    foreign = """
    class Foreign:
        def __init__(self, own):
            self.read, self.write, self.remote_addr = own.read, own.write, own.remote_addr
    """
    body = """
    request.connection = Foreign(request.connection)
    request.ws_stream.send_message(str(len(request.ws_stream.receive_message())))
    """
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "a_wsh.py", handler(body, before=foreign))
    server = start()
    with echoes_throughout(server):
        for size in (4, 60, 200):
            with server.raw("/a") as client, room_for(server, 130 * MIB):
                pour(client, plain(2, b"\0", size * MIB))
                got = answer(client)
            # Who asks such an object for bytes is a handler to us.
            assert got in (str(size * MIB).encode(), close_body(1009), close_body(1011))
    assert got in (close_body(1009), close_body(1011))
    is_well(server)


@needs_prlimit
@pytest.mark.parametrize(
    "reading",
    [
        "request.ws_stream.receive_bytes(200 << 20)",
        "request.connection.read(-1)",
    ],
)
def test_no_memory_for_bytes_that_are_read(start: Start, tmp_path: Path, way: str, reading: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "a_wsh.py", handler(reading))
    server = start(way=way)
    with echoes_throughout(server), server.raw("/a") as client:
        with room_for(server, 100 * MIB):
            pour(client, iter([b"\0" * MIB] * 200))
            assert answer(client) == close_body(1011)
        server.log.wait_for("MemoryError: web_socket_transfer_data")
    is_well(server)


SENDING = {
    "text": ("'\\xe9' * (70 << 20)", "False"),
    "bytearray": ("bytearray(70 << 20)", "True"),
    "random": ("os.urandom(40 << 20)", "True"),
}


@needs_prlimit
@pytest.mark.parametrize("sent", SENDING)
def test_no_memory_for_what_a_handler_sends(start: Start, tmp_path: Path, way: str, sent: str) -> None:
    message, is_binary = SENDING[sent]
    body = f"""
    message = {message}
    request.ws_stream.receive_message()
    request.ws_stream.send_message(message, binary={is_binary})
    """
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "a_wsh.py", handler(body, before="import os"))
    server = start(way=way)
    with echoes_throughout(server):
        with server.raw("/a", *([DEFLATE] if sent == "random" else [])) as client:
            wait_until(lambda: server.memory() > 40 * MIB, "the message")
            # A debug build takes its time to compress that much.
            client.socket.settimeout(4 * SECONDS)
            with room_for(server, 36 * MIB):
                client.send(1, b"go on")
                assert answer(client) == close_body(1011)
        server.log.wait_for("MemoryError: web_socket_transfer_data")
    is_well(server)


@needs_prlimit
@pytest.mark.parametrize(
    "options", [["--trace", "{}/trace"], ["--log-level", "debug"]], ids=["trace", "debug"]
)
def test_no_memory_for_what_is_written_down(start: Start, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "root").mkdir()
    write(tmp_path / "root", "echo_wsh.py", ECHO)
    server = start(*[option.format(tmp_path) for option in options], root=tmp_path / "root")
    with echoes_throughout(server):
        for size in (10, 50, 80):
            with server.raw("/echo", DEFLATE) as client, room_for(server, 130 * MIB):
                pour(client, compressed(2, b"\0", size * MIB))
                assert len(got := answer(client)) == size * MIB or got in (close_body(1009), close_body(1011))
    is_well(server)


@pytest.mark.parametrize(("message", "extension"), WITH_AND_WITHOUT, ids=NAMES_WITH_AND_WITHOUT)
@pytest.mark.parametrize("opcode", [1, 2], ids=["text", "binary"])
def test_a_message_takes_its_size_once(
    start: Start, tmp_path: Path, message: Message, extension: list[str], opcode: int
) -> None:
    """But for fragments that are not compressed: what the handler gets is a copy of them."""
    write(tmp_path, "a_wsh.py", MEASURES)
    server = start()
    server.ask("/a", "warm")
    before = server.memory("VmHWM")
    with server.raw("/a", *extension) as client:
        for piece in message(opcode, b"a", 100 * MIB):
            client.socket.sendall(piece)
        assert answer(client) == str(100 * MIB).encode()
    assert server.memory("VmHWM") - before < (216 if message is fragments else 116) * MIB


TOTAL = ("--max-total-message-size", str(8 * MIB))


def is_taken(server: Server, size: int) -> bool:
    """Whether there is room for a message among all others."""
    with server.raw("/a") as client:
        pour(client, plain(2, b"\0", size))
        return answer(client) == str(size).encode()


def test_all_messages_together_have_a_limit(start: Start, tmp_path: Path, way: str) -> None:
    """The one that is too much is closed; the others are finished, and then there is room again."""
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "a_wsh.py", MEASURES)
    server = start(*TOTAL, way=way)
    with contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(server.raw("/a", DEFLATE)) for _ in range(3)]
        for client in clients:
            client.socket.sendall(head(2, 2 * MIB, fin=False) + bytes(2 * MIB))
            # Its answer says that what is before it was taken.
            client.send(9, b"?")
            assert answer(client) == b"?"
        refused = 0
        for message in MESSAGES:
            with server.raw("/a", DEFLATE) as client:
                pour(client, message(2, b"\0", 3 * MIB))
                assert answer(client) == close_body(1009), message.__name__
            refused += 1
            server.log.wait_for(f"(?s)(would exceed {8 * MIB} bytes.*){{{refused}}}")
        # What is small is not counted.
        assert server.ask("/echo", "x" * 60_000) == "x" * 60_000
        for client in clients:
            client.send(0, b"the end")
            assert answer(client) == str(2 * MIB + 7).encode()
        assert is_taken(server, 8 * MIB)
        # Those that go in the middle of one leave nothing behind.
        for client in clients:
            client.socket.sendall(head(2, 4 * MIB) + bytes(2 * MIB))
    wait_until(lambda: is_taken(server, 8 * MIB), "the room of those that are gone")
    wait_until(lambda: server.log.text.count("--max-total-message-size") >= refused, "a record for each")
    is_well(server)


def test_what_has_come_is_counted_and_not_what_was_announced(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "a_wsh.py", MEASURES)
    server = start(*TOTAL)
    with contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(server.raw("/a")) for _ in range(20)]
        for client in clients:
            client.socket.sendall(head(2, 7 * MIB) + bytes(200_000))
        assert is_taken(server, 3 * MIB)

        def is_counted() -> bool:
            # Nobody needs a message's end to be counted. One whose room is taken by who looks is closed.
            client = open_ones.enter_context(server.raw("/a"))
            with contextlib.suppress(ConnectionError):
                client.socket.sendall(head(2, 7 * MIB) + bytes(6 * MIB))
            return not is_taken(server, 3 * MIB)

        wait_until(is_counted, "what has come")


def test_a_handler_sees_that_there_is_no_room(start: Start, tmp_path: Path) -> None:
    body = """
    try:
        request.ws_stream.receive_message()
    except Exception as error:
        request.ws_stream.send_message(f"{type(error).__name__}: {error}")
    request.ws_stream.send_message(request.ws_stream.receive_message())
    """
    write(tmp_path, "a_wsh.py", handler(body))
    with start("--max-total-message-size", "100000").raw("/a") as client:
        client.socket.sendall(head(2, MIB) + bytes(MIB))
        text = "MessageTooBigException: All messages that are being received would exceed 100000 bytes"
        assert answer(client).decode().startswith(text)
        # The rest of it is passed over.
        client.send(1, b"next")
        assert answer(client) == b"next"


# What stays is behind what goes in the memory that glibc has for the thread.
PINS = handler(
    """
    message = request.ws_stream.receive_message()
    small = [bytearray(700) for _ in range(12_000)]
    STAYS.append(bytearray(700))
    request.ws_stream.send_message(str(len(message)))
    request.ws_stream.receive_message()
    """,
    before="STAYS = []",
)


def test_memory_goes_back_behind_a_storm(start: Start, tmp_path: Path, way: str) -> None:
    if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
        pytest.skip("another allocator")
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "a_wsh.py", PINS)
    server = start(way=way)
    server.ask("/echo", "warm")
    before = server.memory()
    storm = [server.raw("/a") for _ in range(12)]
    for client in storm:
        client.socket.sendall(b"".join(plain(2, b"\0", 4 * MIB)))
        assert answer(client) == str(4 * MIB).encode()
    assert server.memory() - before > 140 * MIB
    for client in storm:
        client.close()
    wait_until(lambda: not server.handler_threads(), "the end of the handlers")
    wait_until(lambda: server.memory() - before < 50 * MIB, "memory that has gone back")
    wait_until(lambda: "wsh-trim" not in server.threads().values(), "the end of who gave it back")
    is_well(server)
