"""How harnesses start a server in their own process (docs/migrating.md), each in one of its own."""

import base64
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from ssl import SSLContext
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from serving import ECHO, environment, wait_until
from test_tls import self_signed, signed, trusting
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

PREAMBLE = """
import json, os, sys, threading, time

def say(**facts):
    print(json.dumps(facts), flush=True)

def listen():
    return sys.stdin.readline().strip()
"""
"""Scripts talk with the test in lines of JSON."""


class Script:
    """A Python program that uses our packages, and its lines."""

    def __init__(self, source: str, cwd: Path, *arguments: str) -> None:
        program = PREAMBLE + textwrap.dedent(source)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=cwd,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> dict[str, object]:
        """The next line that the program says; fails with its stderr when there is none."""
        line = stream(self.process.stdout).readline()
        if not line:
            self.process.wait(10)
            pytest.fail(stream(self.process.stderr).read())
        facts: dict[str, object] = json.loads(line)
        return facts

    def tell(self, line: str = "") -> None:
        """Sends the program a line."""
        pipe = stream(self.process.stdin)
        pipe.write(line + "\n")
        pipe.flush()

    def end(self) -> tuple[int, str]:
        """Waits for the end: exit code and stderr."""
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


def stream(pipe: "IO[str] | None") -> IO[str]:
    assert pipe is not None
    return pipe


@pytest.fixture
def handlers(tmp_path: Path) -> Path:
    """A folder with an echo handler and one that fails."""
    folder = tmp_path / "handlers"
    folder.mkdir()
    (folder / "echo_wsh.py").write_text(ECHO)
    (folder / "broken_wsh.py").write_text(
        "def web_socket_do_extra_handshake(request): pass\n"
        "def web_socket_transfer_data(request): raise ValueError('on purpose')\n"
    )
    return folder


@pytest.fixture
def scripts() -> Iterator[list[Script]]:
    """Scripts of the test; none outlives it."""
    started: list[Script] = []
    yield started
    for script in started:
        script.process.kill()
        script.process.wait()
        for pipe in (script.process.stdin, script.process.stdout, script.process.stderr):
            stream(pipe).close()


def echo_once(port: object, resource: str = "/echo", ssl: "SSLContext | None" = None) -> None:
    scheme = "ws" if ssl is None else "wss"
    with connect(f"{scheme}://127.0.0.1:{port}{resource}", ssl=ssl) as client:
        client.send("hello")
        assert client.recv(timeout=10) == "hello"


WPT = """
    from pywebsocket3 import standalone as pywebsocket

    root, *tls = sys.argv[1:]
    cmd_args = ["-p", "0", "-d", root, "-w", root]
    if tls:
        cmd_args += ["--tls", "--private-key", tls[0], "--certificate", tls[1]]
    opts, args = pywebsocket._parse_args_and_config(["-H", "127.0.0.1"] + cmd_args)
    opts.cgi_directories = []
    opts.is_executable_method = None
    server = pywebsocket.WebSocketServer(opts)
    ports = [item[0].getsockname()[1] for item in server._sockets]
    if not ports:
        raise OSError("no port")
    thread = threading.Thread(target=server.serve_forever)
    thread.daemon = True
    thread.start()
    say(ports=ports, rest=args, name=server.server_name, port=server.server_port)
    listen()
    server.shutdown()
    server.server_close()
    thread.join(10)
    say(alive=thread.is_alive())
"""


@pytest.mark.parametrize("secure", [False, True])
def test_web_platform_tests(secure: bool, handlers: Path, tmp_path: Path, scripts: list[Script]) -> None:
    context, tls = None, []
    if secure:
        if shutil.which("openssl") is None:
            pytest.skip("makes a certificate with openssl")
        certificate, key = self_signed(tmp_path)
        context, tls = trusting(certificate), [str(key), str(certificate)]
    script = Script(WPT, tmp_path, str(handlers), *tls)
    scripts.append(script)
    facts = script.hear()
    ports = facts["ports"]
    assert isinstance(ports, list)
    assert len(set(ports)) == 1
    assert facts == {"ports": ports, "rest": [], "name": "127.0.0.1", "port": ports[0]}
    echo_once(ports[0], ssl=context)
    script.tell()
    assert script.hear() == {"alive": False}
    assert script.end() == (0, "")
    with pytest.raises(OSError, match="refused"):
        echo_once(ports[0])


CHROMIUM = """
    import ssl
    import mod_pywebsocket.standalone
    from mod_pywebsocket.standalone import WebSocketServer

    mod_pywebsocket.standalone.ssl = ssl
    folder, pem, ca, mode = sys.argv[1:]
    os.chdir(folder)

    class WebSocketOptions:
        def __init__(self, host, port, data_dir):
            self.request_queue_size = 128
            self.server_host = host
            self.port = port
            self.websock_handlers = data_dir
            self.scan_dir = None
            self.allow_handlers_outside_root_dir = False
            self.websock_handlers_map_file = None
            self.cgi_directories = []
            self.is_executable_method = None
            self.use_tls = mode.startswith("tls")
            self.private_key = pem
            self.certificate = pem
            self.tls_client_auth = False
            self.tls_client_ca = None
            self.use_basic_auth = False
            self.basic_auth_credential = "Basic dGVzdDp0ZXN0"

    options = WebSocketOptions("127.0.0.1", 0, ".")
    if mode == "tls, client":
        options.tls_client_auth = True
        options.tls_client_ca = ca
        options.tls_client_cert_optional = False
    server = WebSocketServer(options)
    server.websocket_server_options.use_basic_auth = mode == "basic"
    say(port=server.server_port)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.stop = True
    say(threads=[thread.name for thread in threading.enumerate()])
"""


@pytest.mark.parametrize("mode", ["plain", "basic", "tls", "tls, client"])
def test_chromium(mode: str, handlers: Path, tmp_path: Path, scripts: list[Script]) -> None:
    pem, authority, context = tmp_path / "both.pem", tmp_path / "authority.pem", None
    if mode.startswith("tls"):
        certificate, key = self_signed(tmp_path)
        pem.write_text(certificate.read_text() + key.read_text())
        context = trusting(certificate)
    if mode == "tls, client":
        signed(tmp_path, "authority", None, is_authority=True)
        signed(tmp_path, "client", "authority", is_authority=False)
    script = Script(CHROMIUM, tmp_path, str(handlers), str(pem), str(authority), mode)
    scripts.append(script)
    port = script.hear()["port"]
    if mode == "basic":
        with pytest.raises(HTTPError, match="401"):
            get(port, "/echo_wsh.py")
        with connect(f"ws://test:test@127.0.0.1:{port}/echo") as client:
            client.send("hello")
            assert client.recv(timeout=10) == "hello"
    else:
        if context is not None and mode == "tls, client":
            # TLS 1.3 tells a client without a certificate when it reads.
            with pytest.raises((OSError, WebSocketException)):
                echo_once(port, ssl=context)
            context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client-key.pem")
        echo_once(port, ssl=context)
    script.process.send_signal(signal.SIGINT)
    assert script.hear() == {"threads": ["MainThread"]}
    assert script.end() == (0, "")


SPAWNING = """
import multiprocessing, sys
from pywebsocket3 import standalone

def daemon(root, port, stop):
    options, _ = standalone._parse_args_and_config(["-H", "127.0.0.1", "-p", "0", "-d", root, "-w", root])
    server = standalone.WebSocketServer(options)
    import threading
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    port.put(server._sockets[0][0].getsockname()[1])
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join()

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ports, stop = context.Queue(), context.Event()
    daemons = [context.Process(target=daemon, args=(root, ports, stop)) for root in sys.argv[1:]]
    for process in daemons:
        process.start()
    print(*(ports.get() for _ in daemons), flush=True)
    sys.stdin.readline()
    stop.set()
    for process in daemons:
        process.join()
    print(*(process.exitcode for process in daemons))
"""


def test_a_process_for_each_server(handlers: Path, tmp_path: Path) -> None:
    """`wpt serve` spawns one for each of its servers."""
    (tmp_path / "serve.py").write_text(SPAWNING)
    command = [sys.executable, "serve.py", str(handlers), str(handlers)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            for port in stream(process.stdout).readline().split():
                echo_once(port)
            assert process.communicate("\n", 20) == ("0 0\n", None)
        finally:
            process.kill()


FORKING = """
import os, sys, threading
from pywebsocket3 import standalone

def serve():
    root = sys.argv[1]
    options, _ = standalone._parse_args_and_config(["-H", "127.0.0.1", "-p", "0", "-d", root, "-w", root])
    server = standalone.WebSocketServer(options)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server._sockets[0][0].getsockname()[1], flush=True)
    sys.stdin.readline()
    return server

serve().shutdown()
child = os.fork()
if child == 0:
    serve().shutdown()
    os._exit(3)
assert os.waitpid(child, 0) == (child, 3 << 8)
"""


def test_a_forked_process_has_threads_of_its_own(handlers: Path, tmp_path: Path) -> None:
    """Its connections do not wait for the threads that the parent's server has left, which are not there."""
    (tmp_path / "serve.py").write_text(FORKING)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "serve.py", str(handlers)],
        cwd=tmp_path, env=environment(), stdin=pipe, stdout=pipe, text=True, bufsize=1,
    ) as process:  # fmt: skip
        try:
            for _ in range(2):
                echo_once(stream(process.stdout).readline().strip())
                print(file=stream(process.stdin))
            assert process.communicate(timeout=20) == ("", None)
            assert process.returncode == 0
        finally:
            process.kill()


def test_several_servers_and_their_errors(handlers: Path, tmp_path: Path, scripts: list[Script]) -> None:
    script = Script(
        """
        import types
        from pywebsocket3 import websocket_server

        class Reporting(websocket_server.WebSocketServer):
            def handle_error(self, request, client_address):
                kind, error, _ = sys.exc_info()
                say(kind=kind.__name__, error=str(error), host=client_address[0])

        def serve():
            options = types.SimpleNamespace(server_host="127.0.0.1", port=0, websock_handlers=sys.argv[1])
            server = Reporting(options)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return server

        servers = [serve(), serve()]
        say(ports=[server.server_port for server in servers])
        listen()
        servers[0].shutdown()
        servers[0].server_close()
        say()
        listen()
        with servers[1]:
            servers[1].shutdown()
        """,
        tmp_path,
        str(handlers),
    )
    scripts.append(script)
    ports = script.hear()["ports"]
    assert isinstance(ports, list)
    for port in ports:
        echo_once(port)
    with (
        connect(f"ws://127.0.0.1:{ports[1]}/broken") as client,
        pytest.raises(Exception, match="no close frame"),
    ):
        client.recv(timeout=10)
    error = "web_socket_transfer_data raised exception for /broken: on purpose"
    assert script.hear() == {"kind": "ValueError", "error": error, "host": "127.0.0.1"}
    script.tell()
    script.hear()
    echo_once(ports[1])
    script.tell()
    assert script.end() == (0, "")


def test_no_address(handlers: Path, tmp_path: Path, scripts: list[Script]) -> None:
    script = Script(
        """
        import socket, types
        from pywebsocket3 import websocket_server

        taken = socket.create_server(("127.0.0.1", 0))
        options = types.SimpleNamespace(
            server_host="127.0.0.1", port=taken.getsockname()[1], websock_handlers=sys.argv[1]
        )
        server = websocket_server.WebSocketServer(options)
        say(sockets=len(server._sockets))
        server.serve_forever()
        """,
        tmp_path,
        str(handlers),
    )
    scripts.append(script)
    assert script.hear() == {"sockets": 0}
    code, errors = script.end()
    assert code == 0
    assert "No sockets activated" in errors


def test_reload_is_for_those_who_ask(handlers: Path, tmp_path: Path, scripts: list[Script]) -> None:
    script = Script(
        """
        import types
        from pywebsocket3 import websocket_server

        for reload in (False, True):
            options = types.SimpleNamespace(server_host="127.0.0.1", port=0, websock_handlers=sys.argv[1])
            if reload:
                options.reload = True
            server = websocket_server.WebSocketServer(options)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            say(port=server.server_port)
        listen()
        """,
        tmp_path,
        str(handlers),
    )
    scripts.append(script)
    as_it_was, reloading = script.hear()["port"], script.hear()["port"]
    echo_once(as_it_was)
    echo_once(reloading)
    (handlers / "echo_wsh.py").write_text(
        "def web_socket_do_extra_handshake(request): pass\n"
        "def web_socket_transfer_data(request):\n"
        "    request.ws_stream.receive_message()\n"
        "    request.ws_stream.send_message('new')\n"
    )

    def is_new() -> bool:
        with connect(f"ws://127.0.0.1:{reloading}/echo") as client:
            client.send("old")
            return client.recv(timeout=10) == "new"

    wait_until(is_new, "the new handler")
    echo_once(as_it_was)


def test_what_the_server_logs_goes_to_the_log_of_the_program(
    handlers: Path, tmp_path: Path, scripts: list[Script]
) -> None:
    script = Script(
        """
        import logging, types
        from pywebsocket3 import websocket_server

        class Telling(logging.Handler):
            def emit(self, record):
                if "address" not in record.getMessage() and record.name != "root":
                    say(level=record.levelname, name=record.name.split(".")[-1], text=record.getMessage())

        logging.getLogger().addHandler(Telling())
        options = types.SimpleNamespace(server_host="127.0.0.1", port=0, websock_handlers=sys.argv[1])
        server = websocket_server.WebSocketServer(options)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(port=server.server_port)
        listen()
        server.shutdown()
        logging.getLogger().setLevel(logging.INFO)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say()
        listen()
        """,
        tmp_path,
        str(handlers),
    )
    scripts.append(script)
    port = script.hear()["port"]
    with pytest.raises(HTTPError, match="404"):
        get(port, "/none")
    warning = {
        "level": "WARNING",
        "name": "WebSocketRequestHandler",
        "text": "127.0.0.1 - code 404, message File not found",
    }
    assert script.hear() == warning
    script.tell()
    assert script.hear() == {}
    with pytest.raises(HTTPError, match="404"):
        get(port, "/none")
    texts = [script.hear()["text"] for _ in range(4)]
    assert texts == [
        "No handler for resource: '/none'",
        "Fallback to CGIHTTPRequestHandler",
        warning["text"],
        '"GET /none HTTP/1.1" 404 -',
    ]


@pytest.fixture
def cgi() -> Iterator[Path]:
    """A document root with a script and a file in `/cgi`. Not pytest's: root runs scripts as nobody."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "cgi").mkdir()
        for file, mode in [("script", 0o755), ("plain", 0o644)]:
            (root / "cgi" / file).write_text('#!/bin/sh\necho\necho "$QUERY_STRING$FROM_PROGRAM"\n')
            (root / "cgi" / file).chmod(mode)
        yield root


def get(port: object, target: str, credential: str = "") -> str:
    headers = (
        {"Authorization": f"Basic {base64.b64encode(credential.encode()).decode()}"} if credential else {}
    )
    with urlopen(Request(f"http://127.0.0.1:{port}{target}", headers=headers), timeout=10) as response:
        text: str = response.read().decode()
        return text


def test_cgi_is_as_the_options_say_when_the_request_comes(cgi: Path, scripts: list[Script]) -> None:
    script = Script(
        """
        import types
        from pywebsocket3 import websocket_server

        options = types.SimpleNamespace(server_host="127.0.0.1", port=0, websock_handlers=".")
        server = websocket_server.WebSocketServer(options)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(port=server.server_port)
        listen()
        options.cgi_directories = ["/cgi"]
        options.is_executable_method = None
        os.environ["FROM_PROGRAM"] = "!"
        say()
        listen()
        asked = []
        options.is_executable_method = lambda path: asked.append(path)
        say()
        listen()
        options.is_executable_method = lambda path: undefined
        say(asked=asked)
        listen()
        server.shutdown()
        """,
        cgi,
    )
    scripts.append(script)
    port = script.hear()["port"]
    assert get(port, "/cgi/script").startswith("#!/bin/sh")
    script.tell()
    script.hear()
    assert get(port, "/cgi/script?me") == "me!\n"
    assert get(port, "/cgi/plain").startswith("#!/bin/sh")
    script.tell()
    script.hear()
    assert get(port, "/cgi/script").startswith("#!/bin/sh")
    with pytest.raises(HTTPError, match="404"):
        get(port, "/cgi/none")
    script.tell()
    assert script.hear() == {"asked": [str(cgi.resolve() / "cgi" / "script")]}
    with pytest.raises(OSError, match=r"closed connection without response|Connection reset"):
        get(port, "/cgi/script")
    script.tell()
    code, errors = script.end()
    assert code == 0
    assert "Exception in processing request from" in errors
    assert "undefined" in errors


def test_the_command_line_on_another_thread(cgi: Path, scripts: list[Script]) -> None:
    script = Script(
        """
        from pywebsocket3 import standalone, websocket_server

        class Telling(websocket_server.WebSocketServer):
            def serve_forever(self):
                say(port=self.server_port)
                super().serve_forever()

        standalone.WebSocketServer = Telling
        arguments = ["-H", "127.0.0.1", "-p", "0", "-d", sys.argv[1], "-x", "/cgi", "--basic-auth",
                     "--log-level", "info", "--thread-monitor-interval-in-sec", "1"]
        threading.Thread(target=standalone._main, args=[arguments], daemon=True).start()
        listen()
        for wrong in ["-t", "--tls-client-auth", "--tls-client-cert-optional"]:
            try:
                standalone._serve_here([wrong])
            except SystemExit as error:
                say(error=error.code)
        """,
        cgi,
        str(cgi),
    )
    scripts.append(script)
    port = script.hear()["port"]
    assert get(port, "/cgi/script?me", "test:test") == "me\n"
    with pytest.raises(HTTPError, match="401"):
        get(port, "/cgi/script", "test:wrong")
    for line in stream(script.process.stderr):
        if "active threads" in line:
            break
    script.tell()
    errors = [str(script.hear()["error"]) for _ in range(3)]
    assert [error.split()[1] for error in errors] == [
        "--tls",
        "--tls-client-auth",
        "--tls-client-cert-optional",
    ]
    assert script.end()[0] == 0


def test_what_the_server_logs_comes_to_logging_in_order(
    handlers: Path, tmp_path: Path, scripts: list[Script]
) -> None:
    (handlers / "logs_wsh.py").write_text(
        "import logging\n"
        "def web_socket_do_extra_handshake(request):\n"
        "    logging.getLogger('theirs').warning('handshake')\n"
        "def web_socket_transfer_data(request):\n"
        "    logging.getLogger('theirs').warning('data')\n"
        "    print('{\"printed\": true}', flush=True)\n"
        "    logging.getLogger('theirs').warning('done')\n"
    )
    script = Script(
        """
        import logging, types
        from pywebsocket3 import websocket_server

        handler_logged = threading.Event()

        class Saying(logging.Handler):
            def emit(self, record):
                say(name=record.name, level=record.levelname, text=record.getMessage())
                if record.name == "theirs":
                    handler_logged.set()

        class Slow(logging.Filter):
            # Gives a handler the time to be faster, which it must not be. Two records pass here, and a
            # handler waits for both a second at most.
            def filter(self, record):
                if "/missing" in record.getMessage():
                    handler_logged.wait(0.2)
                return True

        logging.getLogger("pywebsocket3.request_handler.WebSocketRequestHandler").addFilter(Slow())
        logging.getLogger().addHandler(Saying())
        logging.getLogger().setLevel(logging.INFO)
        options = types.SimpleNamespace(server_host="127.0.0.1", port=0, websock_handlers=sys.argv[1])
        server = websocket_server.WebSocketServer(options)
        threading.Thread(target=server.serve_forever).start()
        say(port=server.server_port)
        listen()
        logging.getLogger("pywebsocket3.request_handler").setLevel(logging.ERROR)
        say(quiet=True)
        listen()
        server.shutdown()
        say(stopped=True)
        """,
        tmp_path,
        str(handlers),
    )
    scripts.append(script)
    server = "pywebsocket3.websocket_server.WebSocketServer"
    request = "pywebsocket3.request_handler.WebSocketRequestHandler"
    heard = [script.hear()]
    while "port" not in heard[-1]:
        heard.append(script.hear())
    port = heard[-1]["port"]
    assert {"name": server, "level": "INFO", "text": f"Listen on: 127.0.0.1:{port}"} in heard

    with pytest.raises(HTTPError, match="404"):
        get(port, "/missing")
    with connect(f"ws://127.0.0.1:{port}/logs"):
        pass

    def theirs(text: str) -> dict[str, object]:
        return {"name": "theirs", "level": "WARNING", "text": text}

    heard = [script.hear()]
    while heard[-1] != theirs("done"):
        heard.append(script.hear())
    answered = {"name": request, "level": "INFO", "text": '"GET /missing HTTP/1.1" 404 -'}
    # Others may stand between.
    order = [line for line in heard if line == answered or line.get("name") == "theirs" or "printed" in line]
    assert order == [answered, theirs("handshake"), theirs("data"), {"printed": True}, theirs("done")]
    script.tell()
    while "quiet" not in script.hear():
        pass
    with pytest.raises(HTTPError, match="404"):
        get(port, "/missing")
    script.tell()
    rest = [script.hear()]
    while "stopped" not in rest[-1]:
        rest.append(script.hear())
    assert [line for line in rest if line.get("name") == request] == []
    assert script.end() == (0, "")


def test_a_request_handler_class_of_the_program(cgi: Path, tmp_path: Path, scripts: list[Script]) -> None:
    """Under TLS, with the fewest options, stopped from another thread; scripts are not shown, and not run."""
    certificate, key = self_signed(tmp_path)
    (cgi / "echo_wsh.py").write_text(ECHO)
    script = Script(
        """
        import types
        from pywebsocket3 import standalone

        class Mine(standalone.WebSocketRequestHandler):
            def do_HEAD(self):
                self.send_response(204)
                self.send_header("Secure", self.connection.version())
                self.end_headers()

        options = types.SimpleNamespace(
            server_host="127.0.0.1", port=0, websock_handlers=".", use_tls=True,
            certificate=sys.argv[1], private_key=sys.argv[2], cgi_directories=["/cgi"],
        )
        server = standalone.WebSocketServer(options)
        server.RequestHandlerClass = Mine
        server.shutdown()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        say(port=server.server_port)
        listen()
        server.shutdown()
        thread.join(10)
        say(alive=thread.is_alive())
        server.server_close()
        """,
        cgi,
        str(certificate),
        str(key),
    )
    scripts.append(script)
    port = script.hear()["port"]
    context = trusting(certificate)
    echo_once(port, ssl=context)
    url = f"https://127.0.0.1:{port}/cgi/"
    with urlopen(Request(url, method="HEAD"), timeout=10, context=context) as response:
        assert response.status == 204
        assert response.headers["Secure"] in {"TLSv1.2", "TLSv1.3"}
    for target in ["script", "script?a..b", "%73cript", "./script", "../cgi/script"]:
        for data in [None, b"body"]:
            with pytest.raises(HTTPError, match="CGI scripts are run by WebSocketServer only") as error:
                urlopen(Request(url + target, data), timeout=10, context=context)
            assert error.value.code == 501
    with urlopen(url + "plain", timeout=10, context=context) as response:
        assert response.read().startswith(b"#!/bin/sh")
    script.tell()
    assert script.hear() == {"alive": False}
    code, errors = script.end()
    assert code == 0, errors
