"""The command lines with which harnesses start a server as a program (docs/migrating.md)."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Optional
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from serving import Server, Start, environment, handler, program, wait_until, write
from test_harnesses import echo_once, handlers, stream
from test_tls import self_signed, signed, trusting
from websockets.sync.client import ClientConnection, connect

__all__ = ["handlers"]


@pytest.mark.parametrize("package", ["pywebsocket3", "mod_pywebsocket"])
@pytest.mark.parametrize("how", ["module", "path", "call"])
def test_programs(package: str, how: str, handlers: Path, tmp_path: Path) -> None:
    arguments = ["-H", "127.0.0.1", "-p", "0", "-d", str(handlers), "--log_level=info"]
    if how == "module":
        command = [sys.executable, "-m", f"{package}.standalone", *arguments]
    elif how == "path":
        where = subprocess.run(
            [
                sys.executable,
                "-c",
                "import wshost, os; print(os.path.dirname(os.path.dirname(wshost.__file__)))",
            ],
            check=True,
            capture_output=True,
            text=True,
            env=environment(),
        )
        command = [sys.executable, f"{where.stdout.strip()}/{package}/standalone.py", *arguments]
    else:
        command = [sys.executable, "-c", f"from {package} import standalone; standalone._main({arguments!r})"]
    log = (tmp_path / "log").open("w+")
    with log, subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=log) as process:
        try:

            def port() -> str:
                text = Path(log.name).read_text()
                assert process.poll() is None, text
                marker = "Listen on: 127.0.0.1:"
                return text.split(marker)[1].split()[0] if marker in text else ""

            echo_once(wait_until(port, "the port"))
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


WRAPPER = """
import signal, sys

sys.path = ["pywebsocket3"] + sys.path
from mod_pywebsocket import standalone

if "--interactive" in sys.argv:
    sys.argv.remove("--interactive")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
standalone._main()
"""


def vendor(folder: Path) -> Path:
    """Puts our packages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([*program(), "vendor", str(folder)], check=True, env=environment())
    return folder


@pytest.fixture
def mochitest(handlers: Path, tmp_path: Path) -> tuple[Path, list[str], dict[str, str]]:
    """A folder like `_tests/testing/mochitest`, and the command and environment for it."""
    checkout = tmp_path / "mochitest"
    vendor(checkout / "pywebsocket3")
    (checkout / "pywebsocket_wrapper.py").write_text(WRAPPER)
    tests = checkout / "tests/dom/websocket/tests"
    tests.mkdir(parents=True)
    (tests / "file_websocket_wsh.py").symlink_to(handlers / "echo_wsh.py")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "wshost").symlink_to(Path(program()[0]).resolve())
    log = str(checkout / "websock.log")
    options = ["--interactive", "-H", "127.0.0.1", "-p", "0", "-w", str(checkout), "-l", log]
    options += ["--log-level=debug", "--allow-handlers-outside-root-dir"]
    # `-S`: the interpreter of a checkout, which has no wshost. Its `sys.path` is in the environment, as ever.
    command = [sys.executable, "-S", "pywebsocket_wrapper.py", *options]
    path = [folder for folder in sys.path if not (Path(folder) / "wshost").is_dir()]
    env = environment(PATH=f"{programs}:/usr/bin:/bin", PYTHONPATH=os.pathsep.join(path))
    return checkout, command, env


@pytest.mark.parametrize("installed", [False, True], ids=["binary from PATH", "installed"])
def test_mochitest(
    installed: bool, mochitest: tuple[Path, list[str], dict[str, str]], tmp_path: Path
) -> None:
    """Vendored files in the harness's folder, linked handlers, SIGINT ignored under a debugger."""
    checkout, command, env = mochitest
    if installed:
        command.remove("-S")
    with subprocess.Popen(command, cwd=checkout, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            ready = stream(process.stderr).readline()
            assert "listening on" in ready, ready + stream(process.stderr).read()
            port = ready.rsplit(":", 1)[1].strip("/)\n")
            echo_once(port, resource="/tests/dom/websocket/tests/file_websocket")
            process.send_signal(signal.SIGINT)
            echo_once(port, resource="/tests/dom/websocket/tests/file_websocket")
            assert "file_websocket" in (checkout / "websock.log").read_text()
        finally:
            process.kill()
        assert process.wait(20) == -signal.SIGKILL


def test_mochitest_says_what_is_missing(mochitest: tuple[Path, list[str], dict[str, str]]) -> None:
    checkout, command, env = mochitest
    env = environment(PATH="/nowhere")
    missing = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
    assert missing.returncode == 1
    assert "there is no wshost program in PATH" in missing.stderr
    assert len(missing.stderr.splitlines()) == 1


def test_the_library_of_another_python_in_the_environment(start: Start, tmp_path: Path) -> None:
    """The binary's Python need not be the harness's, whose whole `sys.path` is in `PYTHONPATH`."""
    library = tmp_path / "lib" / "python2.7"
    for module in ["os", "encodings/__init__", "site"]:
        write(library, f"{module}.py", "raise SystemError('this is another Python')")
    write(tmp_path, "helpers/helper.py", "WORD = 'helped'")
    write(
        tmp_path,
        "root/a_wsh.py",
        handler("request.ws_stream.send_message(WORD)", before="from helper import WORD"),
    )
    env = environment(PYTHONPATH=os.pathsep.join(["", str(library), str(tmp_path / "helpers")]))
    assert start(root=tmp_path / "root", env=env).ask("/a", None) == "helped"


def started(command: list[str], cwd: Path, base: Path, log: Path) -> "subprocess.Popen[bytes]":
    """A program that runs; as harnesses do, with its output in a file and its own packages first."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(PYTHONPATH=str(base), LC_ALL="C"),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def free_port() -> int:
    """A port that nobody has, as harnesses look for one: by binding it for a moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_as_harnesses_do(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Connects again and again, and says nothing."""

    def is_there() -> bool:
        assert process.poll() is None
        try:
            socket.create_connection(("localhost", port)).close()
        except OSError:
            return False
        return True

    wait_until(is_there, "a server that listens")


def talk(address: str, resource: str, context: Optional[ssl.SSLContext] = None) -> ClientConnection:
    scheme = "ws" if context is None else "wss"
    return connect(f"{scheme}://{address}{resource}", ssl=context)


HOST = handler("request.ws_stream.send_message(request.headers_in['Host'] + ' \u00e9')")


def test_chromium_web_tests(tmp_path: Path) -> None:
    base, root = vendor(tmp_path / "third_party" / "pywebsocket3" / "src"), tmp_path / "websocket"
    (root / "tests").mkdir(parents=True)
    (root / "tests" / "echo_wsh.py").write_bytes(HOST.encode())
    (root / "handler_map.txt").write_text("/alias /tests/echo\n")
    port, log = free_port(), tmp_path / "log-err.txt"
    command = [
        sys.executable, "-u", str(base / "mod_pywebsocket" / "standalone.py"),
        "--server-host", "localhost", "--port", str(port), "--document-root", str(root),
        "--scan-dir", str(root), "--cgi-paths", "/", "--log-file", str(log),
        "--websock-handlers-map-file", str(root / "handler_map.txt"),
        "--handler-encoding", "utf-8",
    ]  # fmt: skip
    process = started(command, tmp_path, base, tmp_path / "out")
    with process:
        try:
            wait_as_harnesses_do(process, port)
            for resource in ["/tests/echo", "/alias"]:
                with talk(f"localhost:{port}", resource) as client:
                    assert client.recv(timeout=10) == f"localhost:{port} \u00e9"
            assert log.read_text() == ""
        finally:
            process.kill()


@pytest.mark.parametrize("secure", [False, True])
def test_webkit(secure: bool, tmp_path: Path) -> None:
    base, root = vendor(tmp_path / "tools" / "third_party" / "pywebsocket3"), tmp_path / "http" / "tests"
    scan = root / "websocket" / "tests"
    scan.mkdir(parents=True)
    write(scan, "hybi/echo-host_wsh.py", HOST)
    write(scan, "outside_wsh.py", HOST)
    write(root, "unscanned_wsh.py", HOST)
    map_file = root / "websocket" / "handler_map.txt"
    map_file.write_text("/ /websocket/tests/hybi/echo-host\n")
    port, log = free_port(), tmp_path / "log-err.txt"
    command = [
        sys.executable, "-u", str(base / "pywebsocket3" / "standalone.py"),
        "--server-host", "localhost", "--port", str(port), "--document-root", str(root),
        "--scan-dir", str(scan), "--cgi-paths", "/websocket/tests", "--log-file", str(log),
        "--websock-handlers-map-file", str(map_file),
    ]  # fmt: skip
    context: Optional[ssl.SSLContext] = None
    if secure:
        if shutil.which("openssl") is None:
            pytest.skip("makes certificates with openssl")
        certificate, key = self_signed(tmp_path)
        pem = write(tmp_path, "both.pem", certificate.read_text() + key.read_text())
        authority = signed(tmp_path, "authority", None, is_authority=True)
        command += ["-t", "-k", str(pem), "-c", str(pem), "--tls-client-ca", str(authority)]
        context = trusting(certificate)
    process = started(command, tmp_path, base, tmp_path / "out")
    with process:
        try:
            wait_as_harnesses_do(process, port)
            for resource in ["/websocket/tests/hybi/echo-host", "/"]:
                with talk(f"localhost:{port}", resource, context) as client:
                    assert client.recv(timeout=10) == f"localhost:{port} \u00e9"
            scheme = "http" if context is None else "https"
            # 2010: this had to answer.
            with pytest.raises(HTTPError, match="400"):
                urlopen(f"{scheme}://localhost:{port}/", timeout=10, context=context)
            with urlopen(
                f"{scheme}://localhost:{port}/unscanned_wsh.py", timeout=10, context=context
            ) as file:
                assert b"send_message" in file.read()
        finally:
            process.kill()


def test_paths_of_scripts_that_match_nothing(handlers: Path, tmp_path: Path) -> None:
    """`--cgi-paths=.` stands in scripts that people have; it starts, and runs nothing."""
    command = [sys.executable, "-m", "mod_pywebsocket.standalone", "--log-level=error", "--cgi-paths=."]
    with Server(handlers, command=command) as server:
        echo_once(server.port)
        with urlopen(f"http://{server.address}/echo_wsh.py", timeout=10) as response:
            assert b"receive_message" in response.read()
        assert server.log.text.count("\n") == 1
