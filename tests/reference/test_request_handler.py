"""`request_handler.WebSocketRequestHandler` in servers of `socketserver`, and classes that take its place.

The same program runs on the oracle's packages and on ours; bytes and log records are compared.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deviations import deviates
from frames import close, ping, text
from oracle import Oracle

SECONDS = 30.0

PREAMBLE = """
import logging, os, socketserver, sys, threading, types
from pywebsocket3.request_handler import WebSocketRequestHandler

if "patch" in sys.argv:
    # Before anything else is imported.
    WebSocketRequestHandler.do_GET = lambda self: self.send_error(410)

from mod_pywebsocket import dispatch, handshake, request_handler, util, websocket_server

class Log(logging.Handler):
    def emit(self, record):
        text = record.getMessage().splitlines()[0] if record.exc_info is None else record.getMessage()
        print(record.levelname, record.name, text, file=log, flush=True)

log = open("log", "w")
logging.getLogger().addHandler(Log())
logging.getLogger().setLevel(logging.INFO)

options = types.SimpleNamespace(
    server_host="127.0.0.1", port=0, request_queue_size=128, websock_handlers=".", scan_dir=None,
    allow_handlers_outside_root_dir=False, websock_handlers_map_file=None, handler_encoding=None,
    cgi_directories=[], is_executable_method=None, use_tls=False, use_basic_auth=False,
    basic_auth_credential="Basic dGVzdDp0ZXN0", validation_host="a.example", validation_port=None,
)

class Foreign(socketserver.ThreadingTCPServer):
    daemon_threads = True
    server_name = "a.example"

    def __init__(self, handler_class):
        options.dispatcher = dispatch.Dispatcher(".", None)
        self.websocket_server_options = options
        super().__init__(("127.0.0.1", 0), handler_class)
        self.server_port = self.server_address[1]

    def handle_error(self, request, client_address):
        kind, error, _ = sys.exc_info()
        print("ERROR", kind.__name__, error, file=log, flush=True)

def serve(server):
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.readline()
    server.shutdown()
    server.server_close()
"""

PROGRAMS = {
    "foreign": "serve(Foreign(WebSocketRequestHandler))",
    "authenticated": "options.use_basic_auth = True; serve(Foreign(WebSocketRequestHandler))",
    "subclass": """
class Mine(WebSocketRequestHandler):
    def parse_request(self):
        if not super().parse_request():
            return False
        self.path = "/page?" + self.path
        return True

    def do_GET(self):
        self.send_response(200)
        self.send_header("X-Seen", self.path)
        self.end_headers()

    def log_request(self, code="-", size="-"):
        self._logger.warning("mine %s %s", self.command, code)

    def finish(self):
        super().finish()
        print("lines", len(self.rfile.get_memorized_lines()), file=log, flush=True)

serve(Foreign(Mine))
""",
    # The parts of a request handler, put together by another one.
    "own handshake": """
class Dispatcher:
    def do_extra_handshake(self, request):
        request.ws_protocol = None

class Mine(request_handler.WebSocketRequestHandler):
    def parse_request(self):
        import http.server
        if not http.server.BaseHTTPRequestHandler.parse_request(self):
            return False
        request = request_handler._StandaloneRequest(self, False)
        try:
            handshake.do_handshake(request, Dispatcher())
        except handshake.HandshakeException as error:
            self.send_error(error.status)
            return False
        connection = request.connection
        text = "%r" % ([
            request.uri, request.get_uri(), request.unparsed_uri, request.get_unparsed_uri(), request.method,
            request.get_method(), request.protocol, request.get_protocol(), request.is_https(),
            connection.remote_addr[0], connection.get_remote_addr() == self.client_address,
            connection.local_addr[0], connection.get_local_addr() == (self.server.server_name,
            self.server.server_port), connection.get_memorized_lines()[1:3],
            request.headers_in is self.headers,
        ],)
        request.ws_stream.send_message(text)
        request.ws_stream.close_connection()
        return False

serve(Foreign(Mine))
""",
    "assigned to the module": """
class Mine(WebSocketRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

websocket_server.WebSocketRequestHandler = Mine
serve(websocket_server.WebSocketServer(options))
""",
    "assigned to the server": """
class Mine(WebSocketRequestHandler):
    def send_head(self):
        self.send_error(418)

server = websocket_server.WebSocketServer(options)
server.RequestHandlerClass = Mine
serve(server)
""",
    "patched": """
def answer(self):
    self.send_error(410)

WebSocketRequestHandler.do_GET = answer
serve(websocket_server.WebSocketServer(options))
""",
    "patched early": "serve(websocket_server.WebSocketServer(options))",
}

HANDLERS = {
    "echo": """
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        request.ws_stream.send_message(message)
""",
    "abort": """
from mod_pywebsocket import handshake

def web_socket_do_extra_handshake(request):
    request.connection.write(b"mine")
    raise handshake.AbortedByUserException("on purpose")

web_socket_transfer_data = web_socket_do_extra_handshake
""",
    "refuse": """
def web_socket_do_extra_handshake(request):
    raise ValueError("no")

web_socket_transfer_data = web_socket_do_extra_handshake
""",
    "later": """
from mod_pywebsocket import handshake

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    raise handshake.HandshakeException("too late", 404)
""",
    "raw": """
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    request.connection.write(request.connection.read(3) + b"|")
    raise handshake.undefined
""",
}

UPGRADE = (
    "Host: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {}\r\n{}\r\n"
)


def opening(target: str, version: int = 13, more: str = "", line: str = "GET {} HTTP/1.1") -> bytes:
    """An opening handshake."""
    return (line.format(target) + "\r\n" + UPGRADE.format(version, more)).encode()


TALK = text("hello") + ping(b"p") + close()
"""What is said to `/echo`."""

REQUESTS = {
    "echo": opening("/echo"),
    "deflate": opening("/echo", more="Sec-WebSocket-Extensions: permessage-deflate\r\n"),
    "credential": opening("/echo", more="Authorization: Basic dGVzdDp0ZXN0\r\n"),
    "wrong credential": opening("/echo", more="Authorization: Basic dGVzdDp0ZXN1\r\n"),
    "absolute": opening("ws://a.example/echo"),
    "another host": opening("ws://b.example/echo"),
    "no host": opening("ws:///echo"),
    "fragment": opening("/echo#x"),
    "version": opening("/echo", version=8),
    "no upgrade": b"GET /echo HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "post to a handler": opening("/echo", line="POST {} HTTP/1.1"),
    "http/1.0 to a handler": opening("/echo", line="GET {} HTTP/1.0"),
    "abort": opening("/abort"),
    "refuse": opening("/refuse"),
    "later": opening("/later"),
    "raw": opening("/raw"),
    "no handler": opening("/none"),
    "file": b"GET /file.txt HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n",
    "head": b"HEAD /file.txt HTTP/1.0\r\n\r\n",
    "listing": b"GET /folder/ HTTP/1.0\r\n\r\n",
    "post": b"POST /file.txt HTTP/1.0\r\n\r\n",
    "unknown method": b"BREW / HTTP/1.0\r\n\r\n",
    "no request": b"nonsense\r\n\r\n",
}


@dataclass
class Program:
    """A running program, and the folder that it works in."""

    process: subprocess.Popen[str]
    port: int
    folder: Path

    def ask(self, data: bytes, then: bytes) -> bytes:
        """All it answers to `data`, and to `then` if that made it a WebSocket; without the time."""
        with (
            socket.create_connection(("127.0.0.1", self.port), SECONDS) as client,
            client.makefile("rb") as file,
        ):
            client.sendall(data)
            # Not before: what a server leaves unread costs the client what it has not read yet.
            answer = file.readline()
            if b" 101 " in answer:
                client.sendall(then)
                client.shutdown(socket.SHUT_WR)
            answer += file.read()
        return re.sub(rb"(?m)^Date: .*\r\n", b"", answer)

    def kill(self) -> None:
        """Ends it without asking."""
        self.process.kill()
        self.process.communicate()

    def end(self) -> str:
        """Ends it; gives what it logged."""
        _, errors = self.process.communicate("\n", SECONDS)
        assert self.process.returncode == 0, errors
        log = (self.folder / "log").read_text().replace(str(self.port), "PORT")
        lines = [line for line in log.splitlines() if "pywebsocket3.websocket_server" not in line]
        return "\n".join(lines)


def start(python: Path, source: str, folder: Path, path: list[Path], *arguments: str) -> Program:
    """Starts a program with its own copy of the handlers."""
    (folder / "folder").mkdir(parents=True, exist_ok=True)
    (folder / "file.txt").write_text("a file\n")
    (folder / "folder" / "inner.txt").write_text("")
    os.utime(folder / "file.txt", (1e9, 1e9))
    for name, handler in HANDLERS.items():
        (folder / f"{name}_wsh.py").write_text(handler)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [python, "-W", "ignore", "-c", PREAMBLE + source, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = process.stdout.readline()
    if not port:
        raise AssertionError(process.communicate()[1])
    return Program(process, int(port), folder)


@pytest.fixture(params=PROGRAMS)
def both(request: pytest.FixtureRequest, oracle: Oracle, tmp_path: Path) -> Iterator[tuple[Program, Program]]:
    """A program on the oracle's packages, and on ours."""
    source, arguments = PROGRAMS[request.param], ["patch"] if request.param == "patched early" else []
    programs: list[Program] = []
    try:
        programs.append(start(oracle.python, source, tmp_path / "reference", [oracle.alias], *arguments))
        programs.append(start(Path(sys.executable), source, tmp_path / "wshost", [], *arguments))
        yield programs[0], programs[1]
    finally:
        for program in programs:
            program.kill()


def test_scripts_are_not_run(oracle: Oracle) -> None:
    """Nor are they shown, whatever the target looks like."""
    deviates("request-handler-cgi")
    source = 'options.cgi_directories = ["/cgi"]; serve(Foreign(WebSocketRequestHandler))'
    # Not pytest's folder: as root, the reference runs scripts as nobody.
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as programs:
        root = Path(name)
        root.chmod(0o755)
        answers = []
        for folder, python, path in [
            ("reference", oracle.python, [oracle.alias]),
            ("wshost", Path(sys.executable), []),
        ]:
            script = root / folder / "cgi" / "script"
            script.parent.mkdir(parents=True)
            script.write_text("#!/bin/sh\necho\necho hello\n")
            script.chmod(0o755)
            program = start(python, source, root / folder, path)
            programs.callback(program.kill)
            request = b"GET /cgi/script%s HTTP/1.0\r\n\r\n"
            answers.append([program.ask(request % query, b"") for query in [b"", b"?a", b"?a..b"]])
        reference, ours = answers
        assert reference[0].startswith(b"HTTP/1.0 200 Script output follows\r\n")
        assert reference[0].endswith(b"\nhello\n")
        # Two dots: it shows the source.
        assert b"#!/bin/sh" in reference[2]
        assert all(
            answer.startswith(b"HTTP/1.0 501 CGI scripts are run by WebSocketServer") for answer in ours
        )


THEN = {"raw": b"abc", "later": b""}
"""What is said once the handshake is done, and read; `TALK` to all others."""


def test_as_the_reference(both: tuple[Program, Program], request: pytest.FixtureRequest) -> None:
    reference, ours = both
    for name, data in REQUESTS.items():
        then = close() if "own handshake" in request.node.name else THEN.get(name, TALK)
        expected, found = reference.ask(data, then), ours.ask(data, then)
        if name == "deflate":
            # Two DEFLATE libraries; test_deflate.py inflates what they say.
            expected, found = expected.split(b"\r\n\r\n")[0], found.split(b"\r\n\r\n")[0]
        assert found == expected, name
    assert ours.end() == reference.end()
