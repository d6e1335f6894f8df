"""A handler's thread is nobody else's, and Python's tools see it."""

import json
import os
import sys
from pathlib import Path

import pytest
from serving import Start, environment, handler, wait_until, write

STATE = """
import os, threading
thread = threading.current_thread()
libc = ctypes.CDLL(None)
before = [getattr(thread, "user", None), thread.name == "alice", open("/proc/thread-self/comm").read()[:4]]
before += [os.readlink("/proc/thread-self/cwd") == HOME, os.getpriority(os.PRIO_PROCESS, 0)]
before += [libc.prctl(30), os.sched_getscheduler(0)]
thread.user, thread.name = "alice", "alice"
libc.prctl(29, 1234567)
libc.unshare(0x200)
os.chdir("/")
os.setpriority(os.PRIO_PROCESS, 0, 5)
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
request.ws_stream.send_message(json.dumps(before))
"""


def test_a_thread_hands_nothing_on_to_the_next_connection(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "a_wsh.py", handler(STATE, before="import ctypes, json, os\nHOME = os.getcwd()"))
    server = start(way=way)
    first = json.loads(server.ask("/a", None))
    assert first[:4] == [None, False, "wsh-", True]
    for _ in range(5):
        assert json.loads(server.ask("/a", None)) == first


def test_no_object_of_a_thread_stays(start: Start, tmp_path: Path, way: str) -> None:
    body = """
    threading.current_thread().user = Seen()
    request.ws_stream.send_message(str(len(ALIVE)))
    """
    before = """
    import threading
    ALIVE = set()

    class Seen:
        def __init__(self):
            ALIVE.add(id(self))

        def __del__(self):
            ALIVE.discard(id(self))
    """
    count = "request.ws_stream.send_message(str(len(ALIVE)))"
    both = f"if request.ws_resource.endswith('?count'):\n    {count}\n    return\n" + body.replace(
        "\n    ", "\n"
    )
    write(tmp_path, "a_wsh.py", handler(both, before=before))
    server = start(way=way)
    for _ in range(5):
        server.ask("/a", None)
    wait_until(lambda: server.ask("/a?count", None) == "0", "no object of a handler's thread")


@pytest.mark.parametrize("hook", ["settrace", "setprofile"])
def test_hooks_of_threading_reach_handlers_and_their_loads(
    start: Start, tmp_path: Path, way: str, hook: str
) -> None:
    path = write(
        tmp_path,
        "lib/sitecustomize.py",
        f"""
        import threading
        SEEN = set()

        def look(frame, event, argument):
            SEEN.add(frame.f_code.co_name)

        threading.{hook}(look)
        """,
    )
    body = "called()\nimport sitecustomize\nrequest.ws_stream.send_message(repr(NAMES - sitecustomize.SEEN))"
    before = """
    NAMES = {"called", "loaded"}

    def called():
        pass

    def loaded():
        pass

    loaded()
    """
    write(tmp_path, "a_wsh.py", handler(body, before=before))
    server = start(way=way, env=environment(PYTHONPATH=str(path.parent)))
    # The start loads on the main thread, which the hooks are not for.
    assert server.ask("/a", None) == "{'loaded'}"
    write(tmp_path, "a_wsh.py", handler(body + "\n# Changed.", before=before))
    wait_until(lambda: server.ask("/a", None) == "set()", "a load that the hook sees")


def test_coverage_sees_the_lines_of_handlers(start: Start, tmp_path: Path) -> None:
    coverage = pytest.importorskip("coverage")
    path = write(tmp_path, "a_wsh.py", handler("request.ws_stream.send_message('so')"))
    data = tmp_path / "data"
    # The way in that ends as Python ends: coverage writes its file then.
    pytest.importorskip("wshost")
    command = [
        sys.executable,
        "-m",
        "coverage",
        "run",
        f"--data-file={data}",
        "-m",
        "pywebsocket3.standalone",
    ]
    server = start(command=command, env=environment(PATH=os.environ["PATH"]))
    assert server.ask("/a", None) == "so"
    assert server.stop() == 0
    found = coverage.CoverageData(str(data))
    found.read()
    lines = path.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if "send_message" in line)
    assert number in (found.lines(str(path)) or [])
