"""A handler's thread is nobody else's."""

import json
from pathlib import Path

from serving import Start, handler, wait_until, write

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
