"""Python's own hooks, debuggers and tools that measure coverage reach the threads of handlers."""

import contextlib
import itertools
import json
import socket
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import SECONDS, Server, Start, environment, handler, wait_until, write

STOPS = handler(
    """
    message = request.ws_stream.receive_message()
    answer = message.upper()
    request.ws_stream.send_message(answer)
    """
)
PLACE = "request.ws_stream.send_message(answer)"


def line_of(path: Path, text: str) -> int:
    """The number of the line that holds `text`."""
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize("hook", ["settrace", "setprofile"])
def test_hooks_of_threading_reach_handlers(start: Start, tmp_path: Path, way: str, hook: str) -> None:
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
    # Files load on the main thread, which the hooks are not for.
    assert server.ask("/a", None) == "{'loaded'}"


NEEDS_MONITORING = pytest.mark.skipif(sys.version_info < (3, 12), reason="since Python 3.12")


@pytest.mark.parametrize("core", ["ctrace", pytest.param("sysmon", marks=NEEDS_MONITORING)])
def test_coverage_sees_the_lines_of_handlers(start: Start, tmp_path: Path, core: str) -> None:
    coverage = pytest.importorskip("coverage")
    # The way in that ends as Python ends: coverage writes its file then.
    pytest.importorskip("wshost")
    path = write(tmp_path, "a_wsh.py", handler("request.ws_stream.send_message('so')"))
    data = tmp_path / "data"
    measured = ["-m", "coverage", "run", f"--data-file={data}", "-m", "pywebsocket3.standalone"]
    env = environment(COVERAGE_CORE=core)
    server = start(command=[sys.executable, *measured], env=env)
    assert server.ask("/a", None) == "so"
    assert server.stop() == 0
    found = coverage.CoverageData(str(data))
    found.read()
    assert line_of(path, "send_message") in (found.lines(str(path)) or [])


HOOKS = {
    "settrace": "threading.settrace_all_threads(look)",
    "setprofile": "threading.setprofile_all_threads(look)",
    "monitoring": """
        tool = sys.monitoring.PROFILER_ID
        sys.monitoring.use_tool_id(tool, 'test')
        sys.monitoring.register_callback(
            tool, sys.monitoring.events.PY_START, lambda code, _: SEEN.append(code.co_name)
        )
        sys.monitoring.set_events(tool, sys.monitoring.events.PY_START)
    """,
}


@NEEDS_MONITORING
@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_for_all_threads_reach_handlers_that_run(
    start: Start, tmp_path: Path, way: str, hook: str
) -> None:
    before = """
    import sys, threading
    SEEN = []

    def look(frame, event, argument):
        SEEN.append(frame.f_code.co_name)

    def early():
        pass

    def late():
        pass
    """
    body = f"""
    resource = request.ws_resource
    request.ws_stream.send_message("runs")
    request.ws_stream.receive_message()
    if resource == "/a?hook":
        {textwrap.indent(textwrap.dedent(HOOKS[hook]).strip(), " " * 8).strip()}
    elif resource == "/a?early":
        early()
    else:
        late()
    request.ws_stream.send_message(repr([name for name in ("early", "late") if name in SEEN]))
    """
    write(tmp_path, "a_wsh.py", handler(body, before=before))
    server = start(way=way)
    with server.talk("/a?early") as early:
        assert early.recv(SECONDS) == "runs"
        for resource, client in [("hook", None), ("early", early), ("late", None)]:
            with contextlib.ExitStack() as opened:
                if client is None:
                    client = opened.enter_context(server.talk(f"/a?{resource}"))
                    assert client.recv(SECONDS) == "runs"
                client.send("go")
                seen = client.recv(SECONDS)
    assert seen == "['early', 'late']"


class Debugger:
    """An editor, attached to debugpy: the Debug Adapter Protocol, as far as one breakpoint needs it."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), SECONDS)
        self._file = self._socket.makefile("rb")
        self._numbers = itertools.count(1)
        self._early: list[dict[str, Any]] = []

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, command: str, **arguments: Any) -> int:
        """Sends a request; gives its number."""
        number = next(self._numbers)
        request = {"seq": number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return number

    def wait_for(self, **wanted: Any) -> dict[str, Any]:
        """The next message with these fields. Others are kept."""
        for message in self._early:
            if wanted.items() <= message.items():
                self._early.remove(message)
                return message
        while True:
            length = 0
            while line := self._file.readline().strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            assert length, f"the debugger has gone, before {wanted}; {self._early}"
            message = json.loads(self._file.read(length))
            if wanted.items() <= message.items():
                assert isinstance(message, dict)
                return message
            self._early.append(message)

    def event(self, name: str) -> dict[str, Any]:
        """What the next event of this name says."""
        message = self.wait_for(type="event", event=name)
        body: dict[str, Any] = message.get("body", {})
        return body

    def answer(self, number: int) -> dict[str, Any]:
        """What the request of this number was answered with."""
        message = self.wait_for(type="response", request_seq=number)
        assert message["success"], message
        body: dict[str, Any] = message.get("body", {})
        return body

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Sends a request; gives its answer."""
        return self.answer(self.send(command, **arguments))

    def attach(self, path: Path, line: int) -> None:
        """Attaches, with a breakpoint there."""
        self.ask("initialize", adapterID="test", linesStartAt1=True, columnsStartAt1=True, pathFormat="path")
        attached = self.send("attach", justMyCode=False)
        self.event("initialized")
        self.ask("setBreakpoints", source={"path": str(path)}, breakpoints=[{"line": line}])
        self.ask("configurationDone")
        self.answer(attached)


@contextlib.contextmanager
def attached(host: str, port: int, path: Path, line: int) -> Iterator[Debugger]:
    """A debugger with a breakpoint."""
    with contextlib.closing(Debugger(host, port)) as debugger:
        debugger.attach(path, line)
        yield debugger


def stops_in_the_handler(server: Server, debugger: Debugger, path: Path, resource: str) -> None:
    """A client's message stops at the breakpoint, the debugger sees the frame's values, and lets it go on."""
    with server.talk(resource) as client:
        client.send("so")
        stopped = debugger.event("stopped")
        assert stopped["reason"] == "breakpoint"
        frames = debugger.ask("stackTrace", threadId=stopped["threadId"])["stackFrames"]
        top = frames[0]
        place = (top["name"], top["source"]["path"], top["line"])
        assert place == ("web_socket_transfer_data", str(path), line_of(path, PLACE))
        scopes = debugger.ask("scopes", frameId=top["id"])["scopes"]
        variables = debugger.ask("variables", variablesReference=scopes[0]["variablesReference"])["variables"]
        values = {variable["name"]: variable["value"] for variable in variables}
        assert (values["message"], values["answer"]) == ("'so'", "'SO'")
        with pytest.raises(TimeoutError):
            client.recv(0)
        debugger.ask("continue", threadId=stopped["threadId"])
        assert client.recv(SECONDS) == "SO"


def test_a_breakpoint_of_debugpy_stops_a_handler(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("debugpy")
    pytest.importorskip("wshost")
    path = write(tmp_path, "a_wsh.py", STOPS)
    endpoints = tmp_path / "endpoints"
    debugged = ["-m", "debugpy", "--listen", "127.0.0.1:0", "-m", "pywebsocket3.standalone"]
    server = start(
        command=[sys.executable, *debugged], env=environment(DEBUGPY_ADAPTER_ENDPOINTS=str(endpoints))
    )
    client = wait_until(lambda: read(endpoints), "the debugger listens")["client"]
    with attached(client["host"], client["port"], path, line_of(path, PLACE)) as debugger:
        for _ in range(2):
            stops_in_the_handler(server, debugger, path, "/a")
    assert server.ask("/a", "free") == "FREE"
    assert server.stop() == 0


def read(path: Path) -> Any:
    """The JSON in a file; `None` before it is there as a whole."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())


def test_a_handler_listens_for_a_debugger(start: Start, tmp_path: Path, way: str) -> None:
    pytest.importorskip("debugpy")
    path = write(tmp_path, "a_wsh.py", STOPS)
    listens = "request.ws_stream.send_message('%s:%d' % debugpy.listen(('127.0.0.1', 0)))"
    write(tmp_path, "listen_wsh.py", handler(listens, before="import debugpy"))
    server = start(way=way)
    with server.talk("/a") as early:
        host, port = str(server.ask("/listen", None)).split(":")
        with attached(host, int(port), path, line_of(path, PLACE)) as debugger:
            stops_in_the_handler(server, debugger, path, "/a")
            # One that ran before.
            early.send("early")
            stopped = debugger.event("stopped")
            debugger.ask("continue", threadId=stopped["threadId"])
            assert early.recv(SECONDS) == "EARLY"
    assert server.ask("/a", "free") == "FREE"
    assert server.stop() == 0
