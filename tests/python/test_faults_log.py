"""A log or a trace that nobody reads, and children that log: nobody waits for them."""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import (
    ECHO,
    SECONDS,
    Server,
    Start,
    environment,
    handler,
    program,
    run,
    talk,
    wait_until,
    write,
)

INFO = ["--log-level", "info", "--grace", "1"]
F_SETPIPE_SZ = 1031


@contextlib.contextmanager
def unread(
    root: Path, stderr: int, *options: str, way: str = "binary"
) -> Iterator["tuple[subprocess.Popen[bytes], str]"]:
    """A server whose stderr is `stderr`, which is closed here; and its `HOST:PORT`."""
    ready = root.parent / "ready"
    command = [
        *program(way),
        "-H",
        "127.0.0.1",
        "-p",
        "0",
        "-d",
        str(root),
        "--ready-file",
        str(ready),
        *options,
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, env=environment()
    )
    os.close(stderr)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, "the ready file")
        yield process, f"127.0.0.1:{ready.read_text().splitlines()[0]}"
    finally:
        process.kill()
        process.wait(SECONDS)


def small_pipe() -> "tuple[int, int]":
    """A pipe that is soon full."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    return reader, writer


def is_full(writer: int) -> bool:
    """Whether a pipe takes nothing more."""
    held = fcntl.ioctl(writer, termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(held, "little") > 2048


def stopped(process: "subprocess.Popen[bytes]", number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    return process.wait(SECONDS)


LOGS = handler(
    """
    import logging, sys
    text = request.ws_stream.receive_message()
    for number in range(int(text)):
        logging.warning("%d %s", number, "x" * 1000)
    request.ws_stream.send_message("done")
    """
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = write(tmp_path, "root/echo_wsh.py", ECHO).parent
    write(folder, "logs_wsh.py", LOGS)
    return folder


@pytest.mark.parametrize("way", ["binary", "wheel"])
def test_a_pipe_that_nobody_reads(root: Path, way: str) -> None:
    reader, writer = small_pipe()
    with unread(root, writer, *INFO, way=way) as (process, address):
        # More than the queue holds, too.
        with talk(address, "/logs") as client:
            client.send("6000")
            assert client.recv(SECONDS) == "done"
        assert is_full(reader)
        for _ in range(3):
            with talk(address, "/echo") as client:
                client.send("still")
                assert client.recv(SECONDS) == "still"
        assert stopped(process) == 0
    os.close(reader)


def test_what_was_dropped_is_counted_in_its_place(root: Path) -> None:
    reader, writer = small_pipe()
    with unread(root, writer, *INFO) as (process, address):
        with talk(address, "/logs") as client:
            client.send("6000")
            assert client.recv(SECONDS) == "done"
        text = b""
        while b"records were dropped" not in text:
            text += os.read(reader, 65536)
        with talk(address, "/logs") as client:
            client.send("1")
            assert client.recv(SECONDS) == "done"
        process.send_signal(signal.SIGTERM)
        while more := os.read(reader, 65536):
            text += more
        assert process.wait(SECONDS) == 0
    os.close(reader)
    lines = text.decode().splitlines()
    numbers = [int(found[1]) for line in lines if (found := re.search(r"root: (\d+) x{1000}$", line))]
    kept = numbers[:-1]
    assert numbers[-1] == 0
    assert kept == list(range(len(kept)))
    [(place, dropped)] = [
        (place, int(found[1]))
        for place, line in enumerate(lines)
        if (found := re.search(r"\] \[WARNING\] \S+: (\d+) records were dropped: nobody read the log", line))
    ]
    # Records of requests may be among them.
    assert 6000 - len(kept) <= dropped <= 6000 - len(kept) + 5
    assert lines[place - 1].endswith("x" * 1000)
    assert all(line.startswith(("[", "wshost: ", "  ")) for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_terminal_that_is_stopped(root: Path, number: int) -> None:
    ours, theirs = os.openpty()
    try:
        kept = os.dup(theirs)
        with unread(root, theirs, *INFO) as (process, address):
            os.read(ours, 1000)
            # As Ctrl-S does.
            termios.tcflow(kept, termios.TCOOFF)
            for _ in range(10):
                with talk(address, "/echo") as client:
                    client.send("still")
                    assert client.recv(SECONDS) == "still"
            assert stopped(process, number) == 0
        os.close(kept)
    finally:
        os.close(ours)


@pytest.mark.parametrize("option", ["--log-file", "--trace"])
def test_a_fifo_that_nobody_reads_any_more(root: Path, tmp_path: Path, option: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = run("-p", "0", "-d", str(root), option, str(fifo))
    expected = f"wshost: {option} {fifo}: nobody reads this FIFO; start its reader first, or name a file\n"
    assert (done.returncode, done.stderr) == (1, expected)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with Server(root, option, str(fifo), *INFO) as server:
        for _ in range(100):
            assert server.ask("/echo", "x" * 2000) == "x" * 2000
        assert server.stop() == 0
    os.close(reader)


def test_a_trace_with_a_gap_says_so_and_is_replayed_around_it(
    start: Start, root: Path, tmp_path: Path
) -> None:
    fifo, trace = tmp_path / "fifo", tmp_path / "trace"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    with Server(root, "--trace", str(fifo), "--grace", "1") as server:
        server.ask("/echo", "before")
        # Each is read, sent, and more in base64: beyond 32 MiB nothing is kept.
        for _ in range(20):
            message = os.urandom(1 << 20)
            with server.talk("/echo", compression=None, max_size=None) as client:
                client.send(message)
                assert client.recv(SECONDS) == message
        text = b""
        while b'"dropped"' not in text:
            text += os.read(reader, 1 << 20)
        server.ask("/echo", "after")
        server.process.send_signal(signal.SIGTERM)
        while more := os.read(reader, 1 << 20):
            text += more
        assert server.process.wait(SECONDS) == 0
        assert re.search(r"\[WARNING\] \S+: --trace: \d+ records were dropped", server.log.rest())
    os.close(reader)
    trace.write_bytes(text)
    records = [json.loads(line) for line in text.splitlines()]
    gaps = [record for record in records if record["event"] == "dropped"]
    assert len(gaps) == 1
    assert gaps[0]["records"] > 0
    again = start("--no-reload", root=root)
    done = run("replay", str(trace), f"ws://{again.address}")
    assert done.returncode == 0, done.stdout + done.stderr
    gap = next(number for number, record in enumerate(records, 1) if record["event"] == "dropped")
    assert f"line {gap}: records were dropped there" in done.stderr
    assert done.stdout.startswith("1 /echo: ok, ")
    assert re.search(r"^\d+ /echo: ok, [^\n]*\n\d+ ok, 0 not\n\Z", done.stdout, re.M)


CLOSES = handler(
    """
    import logging, os
    path = request.ws_stream.receive_message()
    if path == "log":
        logging.warning("not for a client")
        request.ws_stream.send_message("logged")
        return
    [number] = [n for n in os.listdir("/proc/self/fd") if target(n) == path]
    os.close(int(number))
    request.ws_stream.send_message(number)
    # Nobody else may close it.
    request.ws_stream.receive_message()
    """,
    before="""
    import os

    def target(number):
        try:
            return os.readlink("/proc/self/fd/" + number)
        except OSError:
            return None
    """,
)


@pytest.mark.parametrize("option", ["--log-file", "--trace"])
def test_no_client_gets_what_is_written_to_a_closed_log(
    root: Path, tmp_path: Path, way: str, option: str
) -> None:
    write(root, "closes_wsh.py", CLOSES)
    path = tmp_path / "written"
    with Server(root, option, str(path), *INFO, way=way) as server:
        with server.talk("/closes") as closing:
            closing.send(str(path))
            number = closing.recv(SECONDS)
            link = Path(f"/proc/{server.process.pid}/fd/{number}")
            with server.talk("/closes") as client:
                assert os.readlink(link).startswith("socket:")
                client.send("log")
                assert client.recv(SECONDS) == "logged"
                # Up to the end of the connection.
                assert list(client) == []
            assert client.close_code == 1000
        size = path.stat().st_size
        assert server.ask("/echo", "alive") == "alive"
        assert server.stop() == 0
        assert path.stat().st_size == size
        log = server.log.rest()
    said = {
        "--log-file": f"wshost: --log-file {path}: its descriptor was closed; nothing more is logged",
        "--trace": f"--trace {path}: Bad file descriptor (os error 9); nothing more is recorded",
    }
    assert log.count(said[option]) == 1


FORKS = handler(
    """
    import logging, os, signal, time
    count = int(request.ws_stream.receive_message())
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            logging.warning("child %d", number)
            logging.getLogger("x").error("again %d", number)
            os._exit(7)
        children.append(child)
    codes = [os.waitpid(child, 0)[1] for child in children]
    request.ws_stream.send_message(str(codes == [7 << 8] * count))
    """
)


@pytest.mark.parametrize("to_file", [False, True])
def test_children_log_while_others_do(root: Path, tmp_path: Path, to_file: bool) -> None:
    write(root, "forks_wsh.py", FORKS)
    options = [*INFO, *(["-l", str(tmp_path / "log"), "--log-max", "0"] if to_file else [])]
    with Server(root, *options, "--status", "127.0.0.1:0") as server:
        with contextlib.ExitStack() as stack:
            loud = [stack.enter_context(server.talk("/logs")) for _ in range(3)]
            forking = stack.enter_context(server.talk("/forks"))
            for client in loud:
                client.send("300")
            forking.send("40")
            assert forking.recv(SECONDS) == "True"
            for client in loud:
                assert client.recv(SECONDS) == "done"
        assert server.stop() == 0
        text = (tmp_path / "log").read_text() if to_file else server.log.rest()
    for number in range(40):
        assert len(re.findall(rf"^\[.*\] \[WARNING\] root: child {number}$", text, re.M)) == 1
        assert len(re.findall(rf"^\[.*\] \[ERROR\] x: again {number}$", text, re.M)) == 1


def test_children_do_not_wait_for_a_log_that_nobody_reads(root: Path) -> None:
    write(root, "forks_wsh.py", FORKS)
    reader, writer = small_pipe()
    with unread(root, writer, *INFO) as (process, address):
        with talk(address, "/logs") as client:
            client.send("20")
            assert client.recv(SECONDS) == "done"
        wait_until(lambda: is_full(reader), "a full pipe")
        with talk(address, "/forks") as client:
            client.send("10")
            assert client.recv(SECONDS) == "True"
        assert stopped(process) == 0
    os.close(reader)


def test_errors_of_the_start_stand_behind_what_it_logged(root: Path) -> None:
    write(root, "broken_wsh.py", "(")
    done = run("-p", "0", "-H", "127.0.0.1", "-d", str(root), "--trace", "/dev/null/trace")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert any("SyntaxError" in line for line in lines)
    assert lines[-1].startswith("wshost: --trace /dev/null/trace: ")


EMBEDDING = """
import logging, sys, threading, types, urllib.error, urllib.request
from pywebsocket3 import websocket_server
from websockets.sync.client import connect

is_blocked, go_on = threading.Event(), threading.Event()

class Blocking(logging.Handler):
    def createLock(self):
        # Else the end would wait for it, most of the time.
        self.lock = None

    def emit(self, record):
        if "404" in record.getMessage():
            is_blocked.set()
            go_on.wait()
            # The interpreter ends meanwhile.
            for _ in range(3_000_000):
                pass
        print(record.getMessage(), flush=True)

logging.getLogger().addHandler(Blocking())
options = types.SimpleNamespace(server_host="127.0.0.1", port=0, websock_handlers=sys.argv[1])
server = websocket_server.WebSocketServer(options)
serving = threading.Thread(target=server.serve_forever)
serving.start()
address = f"127.0.0.1:{server.server_port}"
for _ in range(3):
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{address}/none")
    except urllib.error.HTTPError:
        pass
    assert is_blocked.wait(30)
    with connect(f"ws://{address}/echo", proxy=None) as client:
        client.send("still")
        assert client.recv(30) == "still"
server.shutdown()
serving.join(30)
assert not serving.is_alive()
print("stopped", flush=True)
go_on.set()
server.server_close()
"""


def test_a_log_handler_of_a_program_that_blocks(root: Path) -> None:
    program("wheel")
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDING, str(root)],
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("stopped\n")
