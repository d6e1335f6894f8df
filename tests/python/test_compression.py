"""permessage-deflate (RFC 7692) from the opening handshake on, with real clients."""

import functools
import itertools
import random
import zlib
from pathlib import Path
from typing import Optional, Union

import pytest
from serving import ECHO, SECONDS, Server, Start, close_body, handler, wait_until, write
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

MEBIBYTE = 1 << 20
WORDS = " ".join(random.Random(1).choices(["open", "the", "pod", "bay", "doors", "hal", "é"], k=300_000))
MESSAGES: list[Union[str, bytes]] = [
    "",
    WORDS.encode()[: MEBIBYTE - 1].decode("utf-8", "ignore"),
    random.Random(2).randbytes(MEBIBYTE),
    b"\x00" * MEBIBYTE,
    "end",
]


@pytest.fixture
def server(start: Start, tmp_path: Path) -> Server:
    write(tmp_path, "echo_wsh.py", ECHO)
    return start()


OFFERS = list(itertools.product([False, True], [False, True], [None, 9, 15], [None, True, 9, 15]))


@pytest.mark.parametrize(
    ("server_no_takeover", "client_no_takeover", "server_bits", "client_bits"),
    OFFERS,
    ids=lambda value: str(value).lower(),
)
def test_every_offer(
    server: Server,
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Optional[int],
    client_bits: Union[int, bool, None],
) -> None:
    offer = ClientPerMessageDeflateFactory(
        server_no_context_takeover=server_no_takeover,
        client_no_context_takeover=client_no_takeover,
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
    )
    with server.talk("/echo", extensions=[offer], compression=None) as client:
        if client_bits in (9, 15):
            # pywebsocket takes no wishes of a client about itself; what it only permits is fine.
            assert not client.protocol.extensions
        else:
            (extension,) = client.protocol.extensions
            # What a client asks of a server has to be granted.
            negotiated = repr(extension)
            assert f"remote_no_context_takeover={server_no_takeover}" in negotiated
            assert f"remote_max_window_bits={server_bits or 15}" in negotiated
        small: list[str | bytes] = ["hello", WORDS[:20_000], b"\x00\x01" * 30_000, WORDS[:20_000]]
        for message in small:
            client.send(message)
            assert client.recv(SECONDS) == message
        # A message of fragments is one message.
        client.send(iter([WORDS[:5000], "", WORDS[5000:9000]]))
        assert client.recv(SECONDS) == WORDS[:9000]


def test_large_messages(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    with start(way=way).talk("/echo", max_size=None) as client:
        assert client.protocol.extensions
        for message in MESSAGES:
            client.send(message)
            assert client.recv(SECONDS) == message


def test_what_the_handler_chooses(start: Start, tmp_path: Path) -> None:
    # Window, context takeover, compression off: the handler's choice, told to the client and kept.
    source = handler(
        """
        while (message := request.ws_stream.receive_message()) is not None:
            request.ws_stream.send_message(message)
            processor = request.ws_extension_processors[0]
            if message == "off":
                processor.disable_outgoing_compression()
            elif message == "on":
                processor.enable_outgoing_compression()
            elif message == "final":
                processor.set_bfinal(True)
        """,
        handshake="""
        request.ws_extension_processors[0].set_client_max_window_bits(10)
        request.ws_extension_processors[0].set_client_no_context_takeover(True)
        """,
    )
    write(tmp_path, "a_wsh.py", source)
    server = start()
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    with server.raw("/a", offer, upgraded=False) as client:
        status, fields = client.response()
        assert status == 101
        chosen = sorted(part.strip() for part in fields["sec-websocket-extensions"].split(";"))
        assert chosen == ["client_max_window_bits=10", "client_no_context_takeover", "permessage-deflate"]
        compressed = []
        for message in [b"one", b"off", b"two", b"on", b"three", b"final", b"four"]:
            client.send(1, message)
            frame = client.frame()
            compressed.append((message.decode(), frame.rsv1))
            if message == b"four":
                assert frame.payload[0] & 1, "the block says that it is the last one"
            if not frame.rsv1:
                assert frame.payload == message
    assert compressed == [
        ("one", True),
        ("off", True),
        ("two", False),
        ("on", False),
        ("three", True),
        ("final", True),
        ("four", True),
    ]


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; unknown",
        "x-unknown",
    ],
)
def test_offers_that_are_passed_over(server: Server, offer: str) -> None:
    with server.raw("/echo", f"Sec-WebSocket-Extensions: {offer}", upgraded=False) as client:
        status, fields = client.response()
        assert status == 101
        assert "sec-websocket-extensions" not in fields
        client.send(1, b"plain")
        frame = client.frame()
        assert (frame.rsv1, frame.payload) == (False, b"plain")


def test_the_smallest_window(server: Server) -> None:
    # zlib has no window of 256 bytes for raw DEFLATE; what is sent must be right for such a client even so.
    offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8"
    with server.raw("/echo", offer, upgraded=False) as client:
        _, fields = client.response()
        assert "server_max_window_bits=8" in fields["sec-websocket-extensions"]
        client.send(1, WORDS[:2000].encode())
        frame = client.frame()
        text = (
            zlib.decompress(frame.payload + b"\x00\x00\xff\xff\x03\x00", -15) if frame.rsv1 else frame.payload
        )
        assert text.decode() == WORDS[:2000]


@functools.cache
def bomb() -> bytes:
    """DEFLATE for 100 MiB of zeros, as the payload of a message."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [deflate.compress(bytes(MEBIBYTE)) for _ in range(100)]
    return b"".join([*pieces, deflate.flush(zlib.Z_SYNC_FLUSH)])[:-4]


@pytest.mark.parametrize("fragments", [1, 4])
def test_a_bomb_is_refused_with_bounded_memory(
    start: Start, tmp_path: Path, way: str, fragments: int
) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--max-message-size", "1000000", way=way)
    payload = bomb()
    assert len(payload) < 1_000_000
    server.ask("/echo", "warm")
    before = server.memory("VmHWM")
    with server.raw("/echo", "Sec-WebSocket-Extensions: permessage-deflate") as client:
        size = len(payload) // fragments + 1
        for index in range(fragments):
            piece = payload[index * size : (index + 1) * size]
            client.send(0 if index else 2, piece, fin=index == fragments - 1, rsv1=index == 0)
        frame = client.frame()
        assert (frame.opcode, frame.payload[:2]) == (8, close_body(1009))
        client.send(8, close_body(1009))
        assert client.rest() == b""
    assert server.memory("VmHWM") - before < 16 * MEBIBYTE
    assert server.ask("/echo", "alive") == "alive"


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_the_limit_is_exact(start: Start, tmp_path: Path, way: str, compression: Optional[str]) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--max-message-size", "1000000", way=way)
    with server.talk("/echo", compression=compression) as client:
        client.send(b"x" * 1_000_000)
        assert client.recv(SECONDS) == b"x" * 1_000_000
        client.send(iter([b"x" * 500_000, b"x" * 500_000]))
        assert client.recv(SECONDS) == b"x" * 1_000_000
        client.send(iter([b"x" * 500_000, b"x" * 500_001]))
        with pytest.raises(ConnectionClosed):
            client.recv(SECONDS)
        assert client.close_code == 1009


def test_a_frame_that_announces_too_much_is_refused_before_it_comes(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--max-message-size", "1000000")
    with server.raw("/echo") as client:
        client.socket.sendall(b"\x82\xff" + (1_000_001).to_bytes(8, "big") + bytes(4))
        assert client.frame().payload[:2] == close_body(1009)


def test_what_is_no_deflate_costs_its_connection(server: Server) -> None:
    with server.raw("/echo", "Sec-WebSocket-Extensions: permessage-deflate") as client:
        client.send(1, b"\xff\xff\xff", rsv1=True)
        client.rest()
    wait_until(lambda: not server.handler_threads(), "the end of the handler")
    assert server.ask("/echo", "alive") == "alive"
