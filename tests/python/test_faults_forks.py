"""Children that are forked: they have what is theirs, and leave alone what is their parent's."""

import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import (
    ECHO,
    SECONDS,
    Output,
    RawClient,
    Start,
    client_frame,
    environment,
    handler,
    program,
    talk,
    wait_until,
    write,
)

PROGRAM = """
import logging, os, signal, sys, threading, time
from pywebsocket3 import standalone

def options(**more):
    given, _ = standalone._parse_args_and_config(["-H", "127.0.0.1", "-p", "0", "-d", ".", "-w", "."])
    vars(given).update(more)
    return given

def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

def say(*words):
    print(*words, flush=True)

def hear():
    return sys.stdin.readline().strip()

def port(server):
    return server._sockets[0][0].getsockname()[1]

def wait_for(child):
    # Not for ever: a child that hangs is a failure.
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"
"""


class Program:
    """A program with servers inside."""

    def __init__(self, root: Path, body: str) -> None:
        program("wheel")
        write(root, "echo_wsh.py", ECHO)
        write(root, "program.py", PROGRAM + textwrap.dedent(body))
        self.process = subprocess.Popen(
            [sys.executable, "program.py"],
            cwd=root,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.output = Output(self.process.stdout)
        self.errors = Output(self.process.stderr)

    def hear(self, name: str) -> str:
        """What the program says of `name`."""
        return self.output.wait_for(rf"^{name} (.*)$").group(1)

    def tell(self, text: str = "") -> None:
        """Lets the program go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Waits for its end."""
        return self.process.wait(SECONDS)


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """Programs that are ended whatever happens."""
    started: list[Program] = []
    yield started
    for one in started:
        one.process.kill()
        one.process.wait(SECONDS)
        print(one.output.text, one.errors.text)


def begin(programs: list[Program], root: Path, body: str) -> Program:
    programs.append(Program(root, body))
    return programs[-1]


def echoes(port: str) -> None:
    with talk(f"127.0.0.1:{port}", "/echo") as client:
        client.send("here?")
        assert client.recv(SECONDS) == "here?"


def open_echo(port: str) -> RawClient:
    client = RawClient("127.0.0.1", int(port))
    client.handshake("/echo")
    assert client.response()[0] == 101
    return client


def echo(client: RawClient, text: bytes) -> None:
    client.send(1, text)
    assert client.frame().payload == text


@pytest.mark.parametrize(
    ("child", "code"),
    [
        ("sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("server.shutdown(); server.server_close(); sys.exit(3)", 3),
        ("del server; gc.collect(); sys.exit(3)", 3),
        ("server.shutdown(); serve(server); server.shutdown(); sys.exit(3)", 3),
        # Made past the C library's fork: nothing of ours knows of it.
        ("raw", 3),
    ],
)
def test_a_child_that_ends_leaves_the_connections_of_its_parent(
    tmp_path: Path, programs: list[Program], child: str, code: int
) -> None:
    made = "ctypes.CDLL(None).syscall(57)" if child == "raw" else "os.fork()"
    body = f"""
        import ctypes, gc
        server = serve(standalone.WebSocketServer(options()))
        say("port", port(server))
        hear()
        child = {made}
        if child == 0:
            {"sys.exit(3)" if child == "raw" else child}
        say("code", wait_for(child))
        hear()
        server.shutdown()
        server.server_close()
        """
    started = begin(programs, tmp_path, body)
    port = started.hear("port")
    with open_echo(port) as client:
        echo(client, b"before")
        started.tell()
        assert started.hear("code") == str(code)
        echo(client, b"after")
        echoes(port)
        client.send(8, b"\x03\xe8")
        client.rest()
    started.tell()
    assert started.end() == 0


@pytest.mark.parametrize("way_of_python", ["fork", "pool", "preexec", "forkpty"])
def test_pythons_own_ways_to_fork(tmp_path: Path, programs: list[Program], way_of_python: str) -> None:
    ways = {
        "fork": "p = context.Process(target=say, args=('child', 'ran')); p.start(); p.join(20)\n"
        "code = p.exitcode",
        "pool": "pool = futures.ProcessPoolExecutor(2, context); code = sum(pool.map(abs, [0, 0]))\n"
        "pool.shutdown()",
        "preexec": "program = [sys.executable, '-c', '']\n"
        "code = subprocess.run(program, preexec_fn=lambda: None, timeout=20).returncode",
        "forkpty": "child, _ = pty.fork()\nif child == 0: sys.exit(0)\ncode = wait_for(child)",
    }
    body = f"""
        import multiprocessing, pty, subprocess
        from concurrent import futures
        context = multiprocessing.get_context("fork")
        server = serve(standalone.WebSocketServer(options()))
        say("port", port(server))
        hear()
        for _ in range(5):
            {ways[way_of_python].replace(chr(10), chr(10) + " " * 12)}
        say("code", code)
        hear()
        server.shutdown()
        """
    started = begin(programs, tmp_path, body)
    with open_echo(started.hear("port")) as client:
        started.tell()
        assert started.hear("code") == "0"
        echo(client, b"after")
        client.send(8, b"\x03\xe8")
        client.rest()
    started.tell()
    assert started.end() == 0


@pytest.mark.parametrize("parent", ["serves", "has served", "has not served"])
@pytest.mark.parametrize("inherited", [False, True])
def test_a_child_serves(tmp_path: Path, programs: list[Program], parent: str, inherited: bool) -> None:
    """A server of its own, and the one that it has from its parent."""
    body = f"""
        server = standalone.WebSocketServer(options())
        if {parent!r} != "has not served":
            serve(server)
        say("parent", port(server))
        hear()
        if {parent!r} == "has served":
            server.shutdown()
        child = os.fork()
        if child == 0:
            if not {inherited}:
                server.server_close()
                server = standalone.WebSocketServer(options())
            serve(server)
            say("child", port(server))
            hear()
            server.shutdown()
            server.server_close()
            sys.exit(3)
        if {inherited}:
            # Who takes the connections is the child.
            server.shutdown()
            server.server_close()
        say("code", wait_for(child))
        """
    started = begin(programs, tmp_path, body)
    port = started.hear("parent")
    client = None
    if parent != "has not served":
        client = open_echo(port)
        echo(client, b"before")
    started.tell()
    port = started.hear("child")
    for _ in range(3):
        echoes(port)
    if client:
        echo(client, b"after")
        client.send(8, b"\x03\xe8")
        client.rest()
        client.close()
    started.tell()
    assert started.hear("code") == "3"
    assert started.end() == 0


def test_the_child_of_a_server_ends_its_own_connections(tmp_path: Path, programs: list[Program]) -> None:
    body = """
        server = serve(standalone.WebSocketServer(options()))
        say("parent", port(server))
        hear()
        child = os.fork()
        if child == 0:
            say("child", port(serve(standalone.WebSocketServer(options()))))
            hear()
            sys.exit(3)
        say("code", wait_for(child))
        hear()
        server.shutdown()
        """
    started = begin(programs, tmp_path, body)
    with open_echo(started.hear("parent")) as ours:
        started.tell()
        with open_echo(started.hear("child")) as client:
            echo(client, b"child's")
            started.tell()
            close = client.frame()
            assert (close.opcode, close.payload) == (8, b"\x03\xe9")
            client.send(8, close.payload)
        assert started.hear("code") == "3"
        echo(ours, b"parent's")
        ours.send(8, b"\x03\xe8")
        ours.rest()
    started.tell()
    assert started.end() == 0


def test_the_child_of_a_signal_handler_leaves_serve_forever(tmp_path: Path, programs: list[Program]) -> None:
    """The thread that serves has forked: the child's copy of it has nothing to serve with."""
    body = """
        children = []
        def fork(*_):
            children.append(os.fork())
        signal.signal(signal.SIGUSR1, fork)
        server = standalone.WebSocketServer(options(reload=True))
        say("port", port(server))
        server.serve_forever()
        if children == [0]:
            serve(server)
            server.shutdown()
            server.server_close()
            sys.exit(3)
        say("code", wait_for(*children))
        """
    started = begin(programs, tmp_path, body)
    port = started.hear("port")
    with open_echo(port) as client:
        echo(client, b"before")
        started.process.send_signal(signal.SIGUSR1)
        children = Path(f"/proc/{started.process.pid}/task/{started.process.pid}/children")
        wait_until(
            lambda: (
                not any(
                    Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
                    for number in children.read_text().split()
                )
                and children.read_text().split()
            ),
            "the end of the child",
        )
        echo(client, b"after")
        write(tmp_path, "late_wsh.py", ECHO)
        # The parent's watcher was not told to end.
        wait_until(lambda: _status(port, "/late") == 101, "the new handler")
        client.send(8, b"\x03\xe8")
        client.rest()


def _status(port: str, resource: str) -> int:
    client = RawClient("127.0.0.1", int(port))
    with client:
        client.handshake(resource)
        return client.response()[0]


SIGNALLED = """
def work():
    signal.pause()
    os._exit(5)

number = getattr(signal, request.ws_stream.receive_message())
for _ in range(10):
    # At once: the child has hardly begun.
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    os.kill(child.pid, number)
    child.join(20)
    request.ws_stream.send_message(str(child.exitcode))
    if child.exitcode is None:
        child.kill()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signals_end_the_child_of_a_handler(start: Start, tmp_path: Path, way: str, name: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "a_wsh.py", handler(SIGNALLED, before="import multiprocessing, os, signal"))
    server = start("--grace", "0.3", way=way)
    with server.raw("/a") as client:
        client.send(1, name.encode())
        number = getattr(signal, name)
        assert [client.frame().payload for _ in range(10)] == [str(-number).encode()] * 10
        client.send(8, b"\x03\xe8")
        client.rest()
    assert server.ask("/echo", "alive") == "alive"
    # They are still the server's own.
    server.process.send_signal(signal.SIGHUP)
    assert server.ask("/echo", "alive") == "alive"
    assert server.stop() == 0


def test_what_a_handlers_child_serves_is_served(start: Start, tmp_path: Path, way: str) -> None:
    body = """
        stream = request.ws_stream
        child = os.fork()
        if child == 0:
            typed = ["-H", "127.0.0.1", "-p", "0", "-d", ROOT, "-w", ROOT]
            given, _ = standalone._parse_args_and_config(typed)
            server = standalone.WebSocketServer(given)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stream.send_message(str(server._sockets[0][0].getsockname()[1]))
            DONE.wait()
        assert stream.receive_message() == "end"
        os.kill(child, signal.SIGTERM)
        stream.send_message(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
        """
    before = f"import os, signal, threading\nfrom pywebsocket3 import standalone\nROOT = {str(tmp_path)!r}\n"
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "a_wsh.py", handler(body, before=before + "DONE = threading.Event()"))
    server = start("--grace", "0.3", way=way)
    with server.raw("/echo") as other, server.raw("/a") as client:
        port = client.frame().payload.decode()
        for _ in range(3):
            echoes(port)
        echo(other, b"parent's")
        client.send(1, b"end")
        assert client.frame().payload == b"-15"
        echo(other, b"parent's")
    assert server.stop() == 0


def test_nothing_is_imported_for_the_first_time_while_handlers_run(
    start: Start, tmp_path: Path, way: str
) -> None:
    # A child that is forked while another thread imports a module waits for that module for ever.
    body = """
    before = set(sys.modules)
    while True:
        request.ws_stream.receive_message()
        request.ws_stream.send_message(" ".join(sorted(set(sys.modules) - before)))
    """
    write(tmp_path, "modules_wsh.py", "import sys\n" + handler(body))
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "raises_wsh.py", handler("raise ValueError('it fails')"))
    write(tmp_path, "refuses_wsh.py", handler("pass", handshake="raise ValueError('refused')"))
    close = "request.ws_stream.close_connection()"
    write(tmp_path, "closed_wsh.py", handler(f"{close}\n{close}"))
    server = start("--max-message-size", "1000", way=way)
    deflate = "Sec-WebSocket-Extensions: permessage-deflate"
    with server.raw("/modules") as client:
        client.send(1, b"warm")
        client.frame()
        for resource, sent, *fields in [
            ("/echo", client_frame(2, bytes(5000))),
            ("/echo", client_frame(1, b"\xff")),
            ("/echo", client_frame(1, b"cut")[:-1]),
            ("/echo", client_frame(3)),
            ("/echo", client_frame(2, rsv1=True)),
            ("/echo", b"\x81\x00"),
            ("/echo", client_frame(1, b"\xff\xff\xff", rsv1=True), deflate),
            ("/raises", b""),
            ("/closed", b""),
        ]:
            with server.raw(resource, *fields) as other:
                other.socket.sendall(sent)
                other.socket.shutdown(socket.SHUT_WR)
                other.rest()
        for resource, *fields in [("/refuses",), ("/echo", "Sec-WebSocket-Protocol: ,")]:
            with RawClient(server.host, server.port) as other:
                other.handshake(resource, *fields)
                assert other.response()[0] != 101
        client.send(1, b"told")
        assert client.frame().payload == b""
