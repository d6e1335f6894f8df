"""Handlers that do what they must not: the server goes on for the others, and stops in time in each state."""

import ast
import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import ECHO, SECONDS, Server, Start, client_frame, close_body, handler, wait_until, write

GRACE = ("--grace", "0.3")


def begin(start: Start, root: Path, body: str, way: str = "binary", before: str = "") -> Server:
    """A server with `/echo` and with `/a`, which does `body`."""
    write(root, "echo_wsh.py", ECHO)
    write(root, "a_wsh.py", handler(body, before=before))
    return start(*GRACE, way=way)


@pytest.mark.parametrize(
    "body",
    [
        "raise SystemExit(7)",
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "web_socket_transfer_data(request)",
        "import sys; sys.exit('enough')",
        "import _thread; _thread.exit()",
    ],
)
def test_a_stop_after_what_ended_a_handler(start: Start, tmp_path: Path, body: str) -> None:
    server = begin(start, tmp_path, body)
    with server.raw("/a") as client:
        client.rest()
    wait_until(lambda: not server.handler_threads(), "the end of the handler")
    assert server.ask("/echo", "alive") == "alive"
    assert server.stop() == 0


def test_signals_that_a_handler_raises_stop_the_server(start: Start, tmp_path: Path, way: str) -> None:
    server = begin(start, tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGTERM)", way)
    with server.raw("/a") as client:
        client.rest()
    assert server.process.wait(SECONDS) == 0


def test_another_working_directory(start: Start, tmp_path: Path, way: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path, "file.txt", "served")
    server = begin(start, tmp_path, "import os; os.chdir('elsewhere')", way)
    with server.raw("/a") as client:
        client.send(8, close_body(1000))
        client.rest()
    assert server.ask("/echo", "alive") == "alive"
    # Files and handlers are found by whole paths: a change is noticed, too.
    with server.raw("/file.txt", upgraded=False) as client:
        assert client.response()[0] == 200
    write(tmp_path, "late_wsh.py", ECHO)
    wait_until(lambda: server.status("/late") == 101, "the new handler")
    assert server.stop() == 0


@pytest.mark.parametrize(
    "body",
    [
        "import io, sys; sys.stdout = sys.stderr = io.StringIO(); print('lost')",
        "import sys; sys.stdout = sys.stderr = None; print('lost')",
        "import sys; sys.stdout.close(); sys.stderr.close()",
        "import sys; del sys.stdout, sys.stderr",
    ],
)
def test_another_stdout(start: Start, tmp_path: Path, way: str, body: str) -> None:
    server = begin(start, tmp_path, body, way)
    with server.raw("/a") as client:
        client.send(8, close_body(1000))
        client.rest()
    write(tmp_path, "raises_wsh.py", handler("raise ValueError('still logged')"))
    wait_until(lambda: server.status("/raises") == 101, "the new handler")
    server.log.wait_for("ValueError: .*still logged$")
    assert server.ask("/echo", "alive") == "alive"
    assert server.stop() == 0


def test_threads_that_outlive_their_handler(start: Start, tmp_path: Path, way: str) -> None:
    server = begin(
        start,
        tmp_path,
        """
        for daemon in (True, False):
            threading.Thread(target=threading.Event().wait, daemon=daemon).start()
        threading.Thread(target=count, daemon=True).start()
        """,
        way,
        before="import threading\ndef count():\n    while True:\n        pass\n",
    )
    with server.raw("/a") as client:
        client.send(8, close_body(1000))
        client.rest()
    assert server.ask("/echo", "alive") == "alive"
    assert server.stop() == 0


LEAVES = """
found = [vars(own), os.getpriority(os.PRIO_PROCESS, 0), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))]
found.append(os.sched_getaffinity(0) == everywhere)
request.ws_stream.send_message(repr(found))
own.value = 1
if request.ws_resource == "/a?change":
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.sched_setaffinity(0, [min(everywhere)])
"""


@pytest.mark.parametrize("target", ["/a", "/a?change"])
def test_nothing_of_a_thread_is_left_to_the_next_connection(
    start: Start, tmp_path: Path, way: str, target: str
) -> None:
    before = "import os, signal, threading\nown = threading.local()\neverywhere = os.sched_getaffinity(0)"
    server = begin(start, tmp_path, LEAVES, way, before)
    seen = []
    for _ in range(5):
        seen.append(ast.literal_eval(server.ask(target, None)))
        wait_until(lambda: not server.handler_threads(), "the end of the handler")
    assert seen == [[{}, os.getpriority(os.PRIO_PROCESS, 0), [], True]] * 5


FORKS = """
child = os.fork()
if child == 0:
    {child}
request.ws_stream.send_message(str(child))
assert request.ws_stream.receive_message() == "on"
request.ws_stream.send_message(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""


@pytest.mark.parametrize(
    ("child", "code"),
    [
        ("os._exit(3)", 3),
        ("return", 0),
        ("raise SystemExit", 0),
        ("raise ValueError('in the child')", 1),
        # Waits, and comes back through the gate before the GIL, which another thread may have had.
        ("request.connection.read(0); return", 0),
    ],
)
def test_a_child_that_comes_back_ends(start: Start, tmp_path: Path, way: str, child: str, code: int) -> None:
    server = begin(start, tmp_path, FORKS.format(child=child), way, before="import os")
    # Others are at the gate while the child is made.
    with server.raw("/echo") as other:
        for _ in range(200):
            other.socket.sendall(client_frame(1, b"x" * 100))
        with server.raw("/a") as client:
            assert client.frame().payload.isdigit()
            client.send(1, b"on")
            assert client.frame().payload == str(code).encode()
            # One close frame, the parent's.
            client.send(8, close_body(1000))
            assert client.frame().payload == close_body(1000)
            assert client.rest() == b""
        assert all(other.frame().payload == b"x" * 100 for _ in range(200))
    if code == 1:
        server.log.wait_for("ValueError: in the child")
    assert server.ask("/echo", "alive") == "alive"
    assert server.stop() == 0


def test_a_child_has_a_thread_of_its_own_for_what_is_kept_back(
    start: Start, tmp_path: Path, way: str
) -> None:
    body = """
        stream = request.ws_stream
        message = stream.receive_message()
        if message == "go":
            GO.set()
            return
        stream.send_message(message)
        GO.wait()
        child = os.fork()
        if child == 0:
            stream.send_message(stream.receive_message())
            stream.send_message(str(len(os.listdir("/proc/self/task"))))
            return
        os.waitpid(child, 0)
        """
    server = begin(start, tmp_path, body, way, before="import os, threading\nGO = threading.Event()")
    with server.raw("/a") as client:
        # The next message is always here already. The parent's thread sends the answer to the first and lives
        # on for a second, while the child is made.
        client.socket.sendall(b"".join(client_frame(1, message) for message in (b"1", b"2", b"3")))
        assert client.frame().payload == b"1"
        with server.raw("/a") as other:
            other.send(1, b"go")
            assert client.frame().payload == b"2"
        assert client.frame().payload == b"2", "the handler's thread and that one"


def test_a_child_that_stays_does_not_hold_up_the_end(start: Start, tmp_path: Path, way: str) -> None:
    child = "os.close(1); os.close(2); time.sleep(3600)"
    server = begin(start, tmp_path, FORKS.format(child=child), way, before="import os, time")
    with server.raw("/a") as client:
        number = int(client.frame().payload)
        try:
            assert server.ask("/echo", "alive") == "alive"
            assert server.stop() == 0
        finally:
            os.kill(number, signal.SIGKILL)


# `cat` has opened the file when the call holds the lock of Python, and ends when the test closes it.
HOLDS = handler("ctypes.PyDLL(None).system(b'exec cat held >/dev/null 2>&1')", before="import ctypes")


@contextlib.contextmanager
def lock_of_python_held(server: Server) -> Iterator[None]:
    """Inside, a handler is in a C call that does not let go of Python."""
    os.mkfifo(server.root / "held")
    with server.raw("/holds"), open(server.root / "held", "w"):
        yield


def test_a_call_that_holds_the_lock_of_python_delays_handlers_only(
    start: Start, tmp_path: Path, way: str
) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "holds_wsh.py", HOLDS)
    write(tmp_path, "file.txt", "served")
    server = start(*GRACE, way=way)
    with lock_of_python_held(server):
        with server.raw("/file.txt", upgraded=False) as other:
            assert other.response()[0] == 200
        late = server.raw("/echo", upgraded=False)
    with late:
        assert late.response()[0] == 101
    assert server.stop() == 0


def test_a_call_that_never_gives_up_the_lock_of_python_does_not_hold_up_the_end(
    start: Start, tmp_path: Path, way: str
) -> None:
    write(tmp_path, "holds_wsh.py", HOLDS)
    server = start(*GRACE, way=way)
    with lock_of_python_held(server):
        assert server.stop() == 0
    assert "does not let go of Python" in server.log.rest()


CLOSES_OWN = """
for name in os.listdir("/proc/self/fd"):
    try:
        socket_name = os.readlink("/proc/self/fd/" + name)
    except OSError:
        continue
    if not socket_name.startswith("socket:"):
        continue
    copy = socket.socket(fileno=os.dup(int(name)))
    try:
        peer = copy.getpeername()
    except OSError:
        continue
    finally:
        copy.close()
    if peer == request.connection.remote_addr:
        os.close(int(name))
        # Nobody else may get the number: it is closed once more at the end.
        assert os.open("/dev/null", os.O_RDONLY) == int(name)
        print("closed", flush=True)
        break
request.ws_stream.send_message("lost")
"""


def test_the_own_descriptor_closed(start: Start, tmp_path: Path) -> None:
    server = begin(start, tmp_path, CLOSES_OWN, before="import os, socket")
    with server.raw("/a") as client:
        server.output.wait_for("closed")
        assert client.rest() == b""
    server.log.wait_for(rf"OSError|\[Errno {errno.ENOTSOCK}\]")
    assert server.ask("/echo", "alive") == "alive"
    assert server.stop() == 0


@pytest.mark.parametrize("first", [3, 0])
def test_all_descriptors_closed(start: Start, tmp_path: Path, way: str, first: int) -> None:
    """Nothing can be served or told without descriptors. The process must end, not hang."""
    server = begin(start, tmp_path, f"import os; os.closerange({first}, 65536)", way)
    with server.raw("/a") as client:
        client.rest()
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    server.process.wait(SECONDS)
