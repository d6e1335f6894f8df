"""What connections see when the server stops."""

import signal
import threading
from pathlib import Path

import pytest
from conftest import Start
from serving import ECHO
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

ASLEEP = """
import time

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    request.ws_stream.send_message('asleep')
    time.sleep(3600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_open_connections_get_1001(start: Start, tmp_path: Path, way: str, number: int) -> None:
    (tmp_path / "echo_wsh.py").write_text(ECHO)
    server = start(way=way)
    with connect(f"ws://{server.address}/echo") as client:
        client.send("hello")
        assert client.recv(timeout=10) == "hello"
        server.process.send_signal(number)
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
        assert (client.close_code, client.close_reason) == (1001, "")
    assert server.process.wait(20) == 0


def test_a_handler_that_sleeps_does_not_hold_up_the_end(start: Start, tmp_path: Path, way: str) -> None:
    (tmp_path / "asleep_wsh.py").write_text(ASLEEP)
    server = start("--grace", "0.1", way=way)
    with connect(f"ws://{server.address}/asleep") as client:
        assert client.recv(timeout=10) == "asleep"
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
        assert client.close_code == 1001
    assert server.process.wait(20) == 0
    assert "1 handlers do not end" in server.log.rest()


def test_finally_blocks_run(start: Start, tmp_path: Path) -> None:
    (tmp_path / "note_wsh.py").write_text(
        ECHO.replace(
            "    while True:",
            "    try:\n        loop(request)\n    finally:\n"
            "        print('finally', request.client_terminated, flush=True)\n\n"
            "def loop(request):\n    while True:",
        )
    )
    server = start()
    with connect(f"ws://{server.address}/note") as client:
        client.send("hello")
        client.recv(timeout=10)
        server.process.send_signal(signal.SIGTERM)
        reader = threading.Thread(target=lambda: list(client))
        reader.start()
        assert server.process.wait(20) == 0
        reader.join(10)
    assert "finally True" in server.output.rest()
