"""What connections take is given back, however they end."""

import gc
import json
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import ECHO, Server, Start, close_body, handler, wait_until, write

# Requests, streams, connections and dispatchers are counted while they live: by weak references, and by name
# among what the collector knows.
WATCHED = handler(
    """
    if request.ws_resource == "/a?tell":
        gc.collect()
        kinds = collections.Counter(type(thing).__name__ for thing in gc.get_objects())
        told = {kind: kinds[kind] for kind in ("Request", "Stream", "HTTPMessage")}
        request.ws_stream.send_message(json.dumps(told | {"alive": len(ALIVE), "seen": SEEN[0]}))
        return
    request.mine = request, request.ws_stream
    ALIVE.add(request.ws_stream)
    if request.ws_resource == "/a?raise":
        raise BrokenPipeError("on purpose")
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(message)
    """,
    handshake="""
    with LOCK:
        SEEN[0] += 1
    ALIVE.add(request)
    ALIVE.add(request.connection)
    if request.ws_resource == "/a?refuse":
        raise ValueError("on purpose")
    """,
    before="""
    import collections, gc, json, threading, weakref

    LOCK = threading.Lock()
    SEEN = [0]
    ALIVE = weakref.WeakSet()
    """.replace("\n    ", "\n"),
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def closes(server: Server) -> None:
    with server.raw("/a", DEFLATE) as client:
        client.send(1, b"hello")
        assert client.frame().opcode == 1
        client.send(8, close_body(1000))
        assert client.frame().payload == close_body(1000)
        assert client.rest() == b""


def drops(server: Server) -> None:
    with server.raw("/a", DEFLATE) as client:
        client.send(1, b"hello")
        assert client.frame().opcode == 1


def raises(server: Server) -> None:
    with server.raw("/a?raise") as client:
        assert client.rest() == b""


def is_refused(server: Server) -> None:
    assert server.status("/a?refuse") == 403


def finds_nothing(server: Server) -> None:
    assert server.status("/b") == 404


ENDS: list[Callable[[Server], None]] = [closes, drops, raises, is_refused, finds_nothing]


@pytest.mark.parametrize(("way", "connections"), [("binary", 2000), ("wheel", 400)])
def test_everything_is_given_back(start: Start, tmp_path: Path, way: str, connections: int) -> None:
    write(tmp_path, "a_wsh.py", WATCHED)
    server = start("--log-level", "critical", way=way)

    def told() -> dict[str, int]:
        value: dict[str, int] = json.loads(server.ask("/a?tell", None))
        return value

    def settled() -> bool:
        return not server.handler_threads()

    for end in ENDS:
        end(server)
    told()
    wait_until(settled, "the end of the first handlers")
    before, threads, descriptors = told(), len(server.threads()), len(server.descriptors())

    rounds = connections // 2 // len(ENDS)
    clients = [threading.Thread(target=lambda: [end(server) for end in ENDS * rounds]) for _ in range(2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()

    wait_until(settled, "the end of all handlers")
    after = told()
    assert after.pop("seen") - before.pop("seen") == connections // len(ENDS) * 4 + 1
    assert after == before
    # The request that asks, and its connection: nobody else is left.
    assert after["alive"] == 2
    wait_until(lambda: len(server.threads()) <= threads, "the end of the threads")
    wait_until(lambda: len(server.descriptors()) <= descriptors, "the end of the descriptors")


def test_old_versions_of_a_handler_are_given_back(start: Start, tmp_path: Path) -> None:
    source = handler(
        """
        gc.collect()
        request.ws_stream.send_message(f"{NUMBER} {len(VERSIONS)}")
        """,
        before="""
        import gc
        from versions import VERSIONS

        class Version:
            pass

        MINE = Version()
        VERSIONS.add(MINE)
        """,
    )
    write(tmp_path, "versions.py", "import weakref\nVERSIONS = weakref.WeakSet()\n")
    path = write(tmp_path, "a_wsh.py", source + "\nNUMBER = 0\n")
    server = start()
    for number in range(1, 20):
        path.write_text(source + f"\nNUMBER = {number}\n")
        wait_until(lambda: str(server.ask("/a", None)).split()[0] == str(number), "the reload")  # noqa: B023
    wait_until(lambda: server.ask("/a", None) == "19 1", "the end of the old versions")


def test_streams_are_made_while_garbage_is_collected(start: Start, tmp_path: Path, way: str) -> None:
    # Of many that are alive, each needs a new __dict__, and with this threshold that starts a collection.
    body = """
    gc.set_threshold(1)
    streams = [stream.Stream(types.SimpleNamespace(), stream.StreamOptions()) for _ in range(2000)]
    request.ws_stream.send_message(str(len(streams)))
    """
    before = "import gc, types\nfrom pywebsocket3 import stream"
    write(tmp_path, "a_wsh.py", handler(body, before=before))
    assert start(way=way).ask("/a", None) == "2000"


# Before it waits, a handler goes as deep as C code takes it: it compares 900 lists in each other.
DEEP = handler(
    """
    assert NESTED[0] == NESTED[1]
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(message)
    """,
    before="""
    NESTED: list[list[object]] = [[], []]
    for _ in range(900):
        NESTED = [[inner] for inner in NESTED]
    """.replace("\n    ", "\n"),
)


@pytest.mark.parametrize("way", ["binary"])
def test_a_connection_that_waits_gives_its_stack_back(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "deep_wsh.py", DEEP)
    server = start(way=way)
    assert server.ask("/deep", "first") == "first"
    before = server.memory()
    clients = [server.raw("/deep") for _ in range(100)]
    # A wait takes less than 64 KiB in a debug build, too; the deep calls take several times as much.
    wait_until(lambda: (server.memory() - before) / 100 < 64 << 10, "memory that was given back")
    for client in clients:
        client.send(1, b"hello")
        assert client.frame().payload == b"hello"
        client.close()


def place_of(process: int, thread: str) -> str:
    """Where in the kernel a thread waits; "0" while it runs, and where the kernel does not tell."""
    return Path(f"/proc/{process}/task/{thread}/wchan").read_text()


def is_resting(server: Server) -> bool:
    """Whether the handler's thread waits in `poll`, as it does once nothing has come for a while."""
    (thread,) = (number for number, name in server.threads().items() if name.startswith("wsh-1"))
    return "poll" in place_of(server.process.pid, thread)


def test_a_frame_that_is_waited_for_long_is_told_of_once(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--log-level", "fine")
    # Threads of ours wait for what the server writes.
    if all(place_of(os.getpid(), thread) == "0" for thread in os.listdir("/proc/self/task")):
        pytest.skip("the kernel does not tell where threads wait (/proc/PID/task/TID/wchan)")
    with server.raw("/echo") as client:
        for _ in range(2):
            wait_until(lambda: is_resting(server), "a thread that rests")
            client.send(1, b"hello")
            assert client.frame().payload == b"hello"
        client.send(8, close_body(1000))
        assert client.rest()[:2] == b"\x88\x02"
    assert server.stop() == 0
    assert server.log.rest().count("Receive the first 2 octets of a frame") == 3


def test_a_suite_that_leads_back_to_itself_is_given_back(tmp_path: Path) -> None:
    """As `pywebsocket3.dispatch` gives it to a harness that keeps it where the handlers see it."""
    dispatch = pytest.importorskip("pywebsocket3.dispatch")
    write(tmp_path, "a_wsh.py", handler("pass"))
    suite = dispatch.Dispatcher(str(tmp_path), None).get_handler_suite("/a")

    def function(request: object) -> None:
        pass

    function.suite = type(suite)(function, suite.transfer_data, function)  # type: ignore[attr-defined]
    seen = weakref.ref(function)
    del function, suite
    gc.collect()
    assert seen() is None


def test_a_request_that_hangs_on_its_own_header_fields_is_given_back(start: Start, tmp_path: Path) -> None:
    body = """
    request.headers_in.request = request
    SEEN.append(weakref.ref(request))
    request.ws_stream.receive_message()
    """
    told = """
    import a_seen
    gc.collect()
    request.ws_stream.send_message(str([seen() is None for seen in a_seen.SEEN]))
    """
    write(tmp_path, "a_seen.py", "SEEN = []")
    write(tmp_path, "a_wsh.py", handler(body, before="import weakref\nfrom a_seen import SEEN"))
    write(tmp_path, "told_wsh.py", handler(told, before="import gc"))
    server = start()
    with server.raw("/a") as client:
        client.send(8)
        client.rest()
    wait_until(lambda: not server.handler_threads(), "the end of the handler")
    assert server.ask("/told", None) == "[True]"
