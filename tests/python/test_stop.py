"""What connections see when the server stops."""

import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from serving import (
    ECHO,
    SECONDS,
    Frame,
    Output,
    RawClient,
    Start,
    environment,
    handler,
    program,
    wait_until,
    write,
)
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


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It ended just then; the next one is refused.
        return False
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_waits_for_nobody(
    start: Start, tmp_path: Path, way: str, number: int, code: int
) -> None:
    (tmp_path / "asleep_wsh.py").write_text(ASLEEP)
    server = start("--grace", "600", way=way)
    with server.raw("/asleep") as client:
        assert client.frame().payload == b"asleep"
        server.process.send_signal(number)
        # It says that the first one has arrived.
        assert client.frame() == Frame(8, b"\x03\xe9")
        wait_until(lambda: is_refused(server.port), "the end of listening")
        assert server.process.poll() is None
        server.process.send_signal(number)
        assert server.process.wait(20) == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("sent", "options"),
    [
        (b"GET /echo HTT", []),
        (b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgr", []),
        # The beginning of a TLS record with a ClientHello.
        (b"", ["--tls-self-signed"]),
        (b"\x16\x03\x01\x02\x00\x01\x00", ["--tls-self-signed"]),
    ],
    ids=["request line", "fields", "silent tls", "tls"],
)
def test_nobody_waits_for_a_peer_in_the_middle_of_its_request(
    start: Start, tmp_path: Path, sent: bytes, options: "list[str]", number: int
) -> None:
    server = start("--grace", "600", "--head-timeout", "600", *options)
    idle = server.descriptors()
    with RawClient(server.host, server.port) as client:
        client.socket.sendall(sent)
        wait_until(lambda: len(server.descriptors()) > len(idle), "the connection")
        assert server.stop(number) == 0
        assert client.rest() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_opening_handshake_that_waits_does_not_hold_up_the_end(
    start: Start, tmp_path: Path, way: str, number: int
) -> None:
    handshake = "print('waiting', flush=True)\nthreading.Event().wait()"
    write(tmp_path, "waits_wsh.py", handler("pass", handshake, "import threading"))
    server = start("--grace", "0.1", way=way)
    with server.raw("/waits", upgraded=False) as client:
        server.output.wait_for("^waiting$")
        assert server.stop(number) == 0
        # No frame before the handshake is done.
        assert client.rest() == b""
    assert "1 handlers do not end" in server.log.rest()


NEVER_LOADED = """
import threading
print("importing", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_waits_for_a_handler_file_says_so_and_ends(
    tmp_path: Path, way: str, number: int
) -> None:
    write(tmp_path, "never_wsh.py", NEVER_LOADED)
    command = [*program(way), "-p", "0", "-d", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), **pipes)
    try:
        output, log = Output(process.stdout), Output(process.stderr)
        output.wait_for("^importing$")
        log.wait_for(r"\[WARNING\] .*never_wsh\.py takes long to load; nothing is served before")
        process.send_signal(number)
        # As a process that has no handler for the signal.
        assert process.wait(SECONDS) in (-number, 128 + number)
    finally:
        process.kill()
        process.wait(SECONDS)


def test_a_handler_file_that_never_loads_again_does_not_hold_up_the_end(
    start: Start, tmp_path: Path, way: str
) -> None:
    write(tmp_path, "a_wsh.py", ECHO)
    server = start("--log-level", "info", way=way)
    write(tmp_path, "a_wsh.py", NEVER_LOADED)
    server.log.wait_for("a_wsh.py takes long to load")
    assert server.ask("/a", "old") == "old"
    assert server.stop() == 0


def test_many_handler_files_that_never_load_do_not_hold_up_the_end(
    start: Start, tmp_path: Path, way: str
) -> None:
    # Each is waited for shortly, all of them for long.
    (tmp_path / "root").mkdir()
    server = start(root=tmp_path / "root", way=way)
    for number in range(50):
        write(tmp_path, f"new/a{number}_wsh.py", NEVER_LOADED)
    (tmp_path / "new").rename(tmp_path / "root" / "new")
    server.output.wait_for("^importing$")
    assert server.stop() == 0
    assert "[WARNING] wshost.reload: A handler file is still being loaded; not waiting for it" in (
        server.log.rest()
    )


def test_sighup_reads_the_map_file_again(start: Start, tmp_path: Path, way: str) -> None:
    (tmp_path / "echo_wsh.py").write_text(ECHO)
    names = tmp_path / "names"
    names.write_text("/old /echo\n")
    server = start("-m", "names", "--no-reload", way=way)
    assert server.ask("/old") == "?"
    names.write_text("/new /echo\n")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.status("/new") == 101, "the new name")
    assert server.status("/old") == 404


PROGRAM = """
import atexit, logging, sys, threading, time, types
from pywebsocket3 import websocket_server
from websockets.sync.client import connect

class Late:
    # Called when the interpreter is past its end already: other threads that want it back come now.
    def __del__(self, sleep=time.sleep):
        sleep(0.3)

class Log(logging.Handler):
    def emit(self, record):
        sum(range(1000))

sys.late = Late()
logging.getLogger().addHandler(Log())
atexit.register(print, "an exit function of the program", flush=True)
options = types.SimpleNamespace(server_host="127.0.0.1", port=0, websock_handlers=sys.argv[1])
server = websocket_server.WebSocketServer(options)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = connect(f"ws://127.0.0.1:{server.server_port}/busy", proxy=None)
assert client.recv(30) == "begun"
sys.exit(3)
"""


@pytest.mark.parametrize(
    "work",
    [
        "pass",
        "time.sleep(0.001)",
        "lock.acquire(timeout=0.001)",
        "logging.warning('still here')",
        "request.ws_stream.receive_message()",
        "request.ws_stream.send_message('more')",
        "request.connection.write(b'more')",
    ],
)
def test_a_handler_that_does_not_end_leaves_the_programs_end_alone(tmp_path: Path, work: str) -> None:
    program("wheel")
    source = handler(
        f"""
        import logging, threading, time
        lock = threading.Lock()
        lock.acquire()
        request.ws_stream.send_message('begun')
        while True:
            try:
                {work}
            except Exception:
                pass
        """
    )
    write(tmp_path, "busy_wsh.py", source)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
        env=environment(),
    )
    assert (done.returncode, done.stdout) == (3, "an exit function of the program\n")
