"""Python code that runs in the middle of a call of ours: no lock is held then, and nobody else is held up."""

import sys
from pathlib import Path

import pytest
from serving import ECHO, Start, handler, write

# Asked whether there are filters, it reads what comes after the message, in this thread and in another.
ASKED = """
import threading

class Filters:
    rest = b""

    def __init__(self, connection):
        self.connection = connection

    def read(self):
        self.rest += self.connection.read(1)

    def __bool__(self):
        if len(self.rest) < 2:
            self.read()
            thread = threading.Thread(target=self.read)
            thread.start()
            thread.join()
        return False
"""


@pytest.mark.parametrize("which", ["incoming_frame_filters", "incoming_message_filters"])
@pytest.mark.parametrize("own", [True, False])
def test_filters_that_read_when_they_are_asked_for(
    start: Start, tmp_path: Path, way: str, which: str, own: bool
) -> None:
    body = f"""
    filters = Filters(request.connection)
    stream = request.ws_stream
    if {own}:
        stream._options.{which} = filters
    else:
        from pywebsocket3.stream import Stream, StreamOptions
        options = StreamOptions()
        names = ["outgoing_frame_filters", "incoming_frame_filters", "outgoing_message_filters",
                 "incoming_message_filters", "encode_text_message_to_utf8", "mask_send", "unmask_receive"]
        other = type("Options", (), {{name: getattr(options, name) for name in names}})()
        other.{which} = filters
        stream = Stream(request, other)
    message = stream.receive_message()
    request.ws_stream.send_message(message + filters.rest.decode())
    """
    write(tmp_path, "a_wsh.py", handler(body, before=ASKED))
    server = start(way=way)
    with server.raw("/a") as client:
        client.send(1, b"hello")
        client.socket.sendall(b"?!")
        assert client.frame().payload == b"hello?!"


PINGS = """
import threading, time

class Body:
    def __len__(self):
        return 4

    def __buffer__(self, flags):
        # Long enough for pongs to come meanwhile.
        time.sleep(0.001)
        return memoryview(b"ping")
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="buffers in Python code are new in Python 3.12")
def test_a_ping_whose_buffer_is_python_code(start: Start, tmp_path: Path) -> None:
    body = """
    stream = request.ws_stream

    def send():
        for _ in range(300):
            stream.send_ping(Body(), binary=True)
        stream.send_message("sent")

    thread = threading.Thread(target=send)
    thread.start()
    while stream.receive_message() is not None:
        pass
    thread.join()
    """
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "a_wsh.py", handler(body, before=PINGS))
    server = start(way="wheel")
    with server.raw("/a") as client:
        while (frame := client.frame()).opcode == 9:
            client.send(10, frame.payload)
        assert frame.payload == b"sent"
        assert server.ask("/echo", "alive") == "alive"
    assert server.stop() == 0
