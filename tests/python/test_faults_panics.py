"""A panic of the server, which is a mistake in it, costs its connection only and is one line of the log."""

import importlib.util
import re
from pathlib import Path

import pytest
from serving import ECHO, Server, Start, close_body, environment, handler, wait_until, write

# Python gives no memory once, at a place where PyO3 does not reckon with that.
PANICS = handler(
    """
    request.ws_stream.send_message("hello")
    if request.ws_resource == "/a?swallow":
        try:
            panic()
        except BaseException:
            request.ws_stream.send_message("swallowed")
        return
    if request.ws_resource == "/a?closed":
        request.ws_stream.close_connection(wait_response=False)
    panic()
    """,
    handshake="""
    if request.ws_resource == "/a?early":
        panic()
    """,
    before="""
import _testcapi
from pywebsocket3 import util

def panic():
    _testcapi.set_nomemory(0, 1)
    try:
        util.hexify(b"x")
    finally:
        _testcapi.remove_mem_hooks()
""",
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None, reason="this Python cannot be made to lack memory"
)


def begin(start: Start, tmp_path: Path, way: str) -> Server:
    write(tmp_path, "a_wsh.py", PANICS)
    write(tmp_path, "echo_wsh.py", ECHO)
    return start(way=way, env=environment(RUST_BACKTRACE="0"))


def record_of(server: Server) -> str:
    """The only line that the log has of a panic."""
    server.log.wait_for(r"Panic at .*\n")
    lines = [line for line in server.log.text.splitlines() if "anic" in line and "Traceback" not in line]
    lines = [line for line in lines if not line.startswith("  File ")]
    assert len(lines) == 1, server.log.text
    return lines[0]


def is_well(server: Server) -> None:
    wait_until(lambda: not server.handler_threads(), "the end of the handler")
    assert server.ask("/echo", "alive") == "alive"
    assert server.stop() == 0


def test_a_panic_ends_its_connection_with_1011(start: Start, tmp_path: Path, way: str) -> None:
    server = begin(start, tmp_path, way)
    with server.raw("/echo") as other:
        with server.raw("/a") as client:
            assert client.frame().payload == b"hello"
            assert client.frame().payload == close_body(1011)
            assert client.rest() == b""
        other.send(1, b"undisturbed")
        assert other.frame().payload == b"undisturbed"
    place = r'\[ERROR\] \S+: Panic at \S+\.rs:\d+:\d+ on thread "wsh-\d+ /a": \w.*$'
    assert re.search(place, record_of(server))
    is_well(server)


def test_a_panic_before_the_answer_is_a_500(start: Start, tmp_path: Path, way: str) -> None:
    server = begin(start, tmp_path, way)
    with server.raw("/a?early", upgraded=False) as client:
        assert client.response()[0] == 500
        assert client.rest().endswith(b"</html>\n")
    assert "wsh-" in record_of(server)
    is_well(server)


def test_a_panic_after_a_close_frame_sends_no_other(start: Start, tmp_path: Path) -> None:
    server = begin(start, tmp_path, "binary")
    with server.raw("/a?closed") as client:
        assert client.frame().payload == b"hello"
        assert client.frame().payload == close_body(1000)
        assert client.rest() == b""
    record_of(server)
    is_well(server)


def test_a_handler_may_go_on_after_a_panic(start: Start, tmp_path: Path) -> None:
    server = begin(start, tmp_path, "binary")
    with server.raw("/a?swallow") as client:
        assert client.frame().payload == b"hello"
        assert client.frame().payload == b"swallowed"
        assert client.frame().payload == close_body(1000)
    record_of(server)
    is_well(server)
