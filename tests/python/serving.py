"""Starts the server under test, and connects to it.

Nothing here sleeps for a fixed time: everything waits for a condition, with a deadline.
"""

import contextlib
import dataclasses
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import IO, Any, Optional, Protocol, Union

import pytest
from websockets.sync.client import ClientConnection, connect

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 60.0
"""How long to wait for what comes at once unless something is broken."""

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The `Sec-WebSocket-Key` of RFC 6455, section 1.3."""

ECHO = """
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""
"""The source of a handler that sends everything back."""


def program(way: str = "binary") -> list[str]:
    """The command that starts wshost: the `binary` that embeds Python, or the `wheel` of this interpreter.

    `$WSHOST` names the binary, any that takes pywebsocket's options and `--ready-file`. Without it, it is the
    debug build of this checkout. Without an installed wheel the test is skipped.
    """
    if way == "wheel":
        if importlib.util.find_spec("wshost") is None:
            pytest.skip(f"wshost is not installed in {sys.prefix}; `make test-python` installs it")
        return [sys.executable, "-m", "wshost"]
    return [os.environ.get("WSHOST", str(REPOSITORY / "target" / "debug" / "wshost"))]


def environment(**changes: str) -> dict[str, str]:
    """Our environment without what chooses a Python, and with `changes`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ours.pop("VIRTUAL_ENV", None)
    return ours | {"PYTHONDONTWRITEBYTECODE": "1"} | changes


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`, asked again and again."""
    deadline = time.monotonic() + SECONDS
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.005)


class Output:
    """What a process writes to a pipe: collected by a thread, to be waited for."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._text = ""
        self._ended = False
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        with self._pipe:
            for line in self._pipe:
                with self._grown:
                    self._text += line.decode("utf-8", "replace")
                    self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    @property
    def text(self) -> str:
        """Everything so far, in whole lines."""
        with self._grown:
            return self._text

    def wait_for(self, pattern: str, start: int = 0) -> "re.Match[str]":
        """The first place from character `start` on that matches `pattern`."""
        with self._grown:
            found = self._grown.wait_for(lambda: re.compile(pattern, re.M).search(self._text, start), SECONDS)
            assert found, f"{pattern!r} did not come within {SECONDS} s; there is:\n{self._text}"
            return found

    def wait_for_or_end(self, pattern: str) -> None:
        """Waits until something matches `pattern`, or nobody has the pipe any more."""
        with self._grown:
            self._grown.wait_for(lambda: self._ended or re.search(pattern, self._text, re.M), SECONDS)

    def rest(self) -> str:
        """Everything, after the process has ended."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "something holds the pipe open"
        return self.text


class Server:
    """A running wshost. `with` ends it, whatever state it is in."""

    def __init__(
        self,
        root: Path,
        *options: str,
        way: str = "binary",
        host: Optional[str] = "127.0.0.1",
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[Path] = None,
        command: Optional[list[str]] = None,
    ) -> None:
        """Starts it on the handlers and files of `root`, on a free port, and waits until it is ready."""
        self.root = root
        self.host = host or "127.0.0.1"
        read_end, write_end = os.pipe()
        arguments = ["-p", "0", "-d", str(root), "--ready-fd", str(write_end), *options]
        if host is not None:
            arguments = ["-H", host, *arguments]
        self.process = subprocess.Popen(
            [*(command or program(way)), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[write_end],
            env=environment() if env is None else env,
            cwd=cwd or root,
        )
        os.close(write_end)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.output = Output(self.process.stdout)
        self.log = Output(self.process.stderr)
        with os.fdopen(read_end) as ready:
            told = ready.read()
        if not told:
            # It has closed the pipe and says why; then it ends.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(SECONDS)
            self.kill()
            raise AssertionError(f"the server did not become ready: {self.log.rest()}")
        # The last line of a start: from here on, `log` has what it had to say.
        self.log.wait_for_or_end("listening on ")
        self.port = int(told.splitlines()[0])
        self.address = f"{self.host}:{self.port}"

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.kill()
        if error is not None:
            print(f"--- log of the server ---\n{self.log.text}")

    def kill(self) -> None:
        """Ends it without asking."""
        self.process.kill()
        self.process.wait(SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to end; gives its exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def talk(self, resource: str, **options: Any) -> ClientConnection:
        """A client, connected to `resource`."""
        return talk(self.address, resource, **options)

    def raw(self, resource: str, *headers: str, upgraded: bool = True) -> "RawClient":
        """A client that sends and reads frames as they are; with `upgraded`, past the opening handshake."""
        client = RawClient(self.host, self.port)
        client.handshake(resource, *headers)
        if upgraded:
            status, _ = client.response()
            assert status == 101, status
        return client

    def ask(self, resource: str, message: Union[str, bytes, None] = "?") -> Union[str, bytes]:
        """The answer to one message on a new connection; to none at all for `None`."""
        with self.talk(resource) as client:
            if message is not None:
                client.send(message)
            return client.recv(SECONDS)

    def status(self, resource: str) -> int:
        """The HTTP status that an opening handshake is answered with."""
        with self.raw(resource, upgraded=False) as client:
            return client.response()[0]

    def threads(self) -> dict[str, str]:
        """The process's threads: number → the first 15 characters of its name."""
        names = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            # A thread may end while we look.
            with contextlib.suppress(OSError):
                names[task.name] = (task / "comm").read_text().strip()
        return names

    def handler_threads(self) -> list[str]:
        """The names of the threads that run handlers."""
        return [name for name in self.threads().values() if re.match(r"wsh-\d", name)]

    def descriptors(self) -> list[str]:
        """What the process's open descriptors lead to."""
        targets = []
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                targets.append(os.readlink(link))
        return sorted(targets)

    def memory(self, name: str = "VmRSS") -> int:
        """A line of `/proc/PID/status`, in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", text)
        assert found, text
        return int(found.group(1)) * 1024


class Start(Protocol):
    """The fixture `start`: starts a server on the test's folder. The settings are those of `Server`."""

    def __call__(self, *options: str, **settings: Any) -> Server: ...


@contextlib.contextmanager
def serve(documents: Path, *options: str, way: str = "binary") -> Iterator[str]:
    """A server on the handlers and files in `documents`; gives its `HOST:PORT`."""
    with Server(documents, *options, way=way) as server:
        yield server.address


def talk(host: str, resource: str, **options: Any) -> ClientConnection:
    """A client, connected to `resource`."""
    options = {"open_timeout": SECONDS, "close_timeout": SECONDS, "proxy": None} | options
    return connect(f"ws://{host}{resource}", **options)


@dataclasses.dataclass
class Frame:
    """A frame as it came from the server."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False


class RawClient:
    """A client that hides nothing: bytes and frames."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drops the connection without a close frame."""
        self._file.close()
        self.socket.close()

    def handshake(self, resource: str, *headers: str) -> None:
        """Sends an opening handshake."""
        self.socket.sendall(self.opening(resource, *headers))

    def opening(self, resource: str, *headers: str) -> bytes:
        """An opening handshake."""
        lines = [
            f"GET {resource} HTTP/1.1",
            "Host: a.example",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def response(self) -> tuple[int, dict[str, str]]:
        """Status and fields (names in lower case) of a response's head."""
        status = int(self._file.readline().split()[1])
        fields = {}
        while line := self._file.readline().strip().decode("latin-1"):
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return status, fields

    def send(self, opcode: int, payload: bytes = b"", fin: bool = True, rsv1: bool = False) -> None:
        """Sends a masked frame."""
        self.socket.sendall(client_frame(opcode, payload, fin, rsv1))

    def exactly(self, length: int) -> bytes:
        """So many bytes."""
        data = self._file.read(length)
        assert data is not None
        assert len(data) == length, f"the server closed the connection after {data!r}"
        return data

    def frame(self) -> Frame:
        """The next frame. It must not be masked."""
        first, length = self.exactly(2)
        assert not length & 0x80, "masked"
        if length == 126:
            length = int.from_bytes(self.exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(self.exactly(8), "big")
        return Frame(first & 0xF, self.exactly(length), bool(first & 0x80), bool(first & 0x40))

    def line(self) -> bytes:
        """The next line; empty at the end of the connection."""
        return self._file.readline()

    def rest(self) -> bytes:
        """Everything up to the end of the connection; a reset counts as one."""
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := self._file.read1(65536):
                data += piece
        return data


def client_frame(opcode: int, payload: bytes = b"", fin: bool = True, rsv1: bool = False) -> bytes:
    """The bytes of a client's frame, masked."""
    key = b"\x01\x02\x03\x04"
    head = bytes([fin << 7 | rsv1 << 6 | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        head += b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        head += b"\xff" + len(payload).to_bytes(8, "big")
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + key + masked.to_bytes(len(payload), "big")


def close_body(code: int, reason: str = "") -> bytes:
    """The payload of a close frame."""
    return code.to_bytes(2, "big") + reason.encode()


def write(root: Path, name: str, source: str) -> Path:
    """Writes a file below `root`; `source` may be indented."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source))
    return path


def handler(body: str, handshake: str = "pass", before: str = "") -> str:
    """A handler's source: the body of `web_socket_transfer_data`, of the other one, and what goes before."""

    def block(text: str) -> str:
        return textwrap.indent(textwrap.dedent(text).strip(), "    ")

    return (
        textwrap.dedent(before)
        + f"\n\ndef web_socket_do_extra_handshake(request):\n{block(handshake)}\n"
        + f"\n\ndef web_socket_transfer_data(request):\n{block(body)}\n"
    )


def program_options(root: Path, **more: Any) -> SimpleNamespace:
    """What `WebSocketServer` takes in a program: the handlers and files of `root`, on a free port."""
    return SimpleNamespace(
        server_host="127.0.0.1",
        port=0,
        websock_handlers=str(root),
        document_root=str(root),
        use_tls=False,
        **more,
    )


def run(*arguments: str, way: str = "binary", **options: Any) -> "subprocess.CompletedProcess[str]":
    """Runs wshost to its end."""
    options = {"env": environment()} | options
    return subprocess.run(
        [*program(way), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        **options,
    )
