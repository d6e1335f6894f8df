"""The Python API for tests: `wshost.Server`, and the fixtures of the pytest plugin."""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import ECHO, REPOSITORY, SECONDS, environment, handler, program, wait_until, write
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection

program("wheel")  # skips without an installed wheel
wshost = pytest.importorskip("wshost")

ECHO_BODY = "request.ws_stream.send_message(request.ws_stream.receive_message())"
CHOOSE = "request.ws_protocol = (request.ws_requested_protocols or [None])[0]"


def pytest_in(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs pytest there, with nothing but the installed plugins."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=90,
    )


def test_a_server_for_a_while(tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    (tmp_path / "a.txt").write_text("a file")
    with wshost.Server(handlers=tmp_path, port=0) as server:
        assert server.ws_url("/echo") == f"ws://127.0.0.1:{server.port}/echo"
        with server.connect("/echo") as client:
            client.send("x")
            assert client.recv(SECONDS) == "x"
        with urllib.request.urlopen(server.http_url("/a.txt"), timeout=SECONDS) as answer:
            assert answer.read() == b"a file"
    with pytest.raises(ConnectionRefusedError):
        server.connect("/echo")


def test_a_server_with_options_and_another_document_root(tmp_path: Path) -> None:
    write(
        tmp_path, "h/where_wsh.py", handler("request.ws_stream.send_message(os.getcwd())", before="import os")
    )
    files = tmp_path / "files"
    files.mkdir()
    options = ["--tls-self-signed", "--log-level", "debug"]
    with wshost.Server(tmp_path / "h", document_root=files, options=options) as server:
        assert server.ws_url("where") == f"wss://127.0.0.1:{server.port}/where"
        assert server.http_url().startswith("https://")
        with server.connect("/where") as client:
            assert client.recv(SECONDS) == os.fspath(files)
        server.wait_for_log("/where")
        with pytest.raises(TimeoutError, match="klingon"):
            server.wait_for_log("klingon", timeout=0.01)


def test_a_saved_handler_serves_the_next_connection(tmp_path: Path) -> None:
    def answer() -> str:
        with server.connect("/told") as client:
            return str(client.recv(SECONDS))

    write(tmp_path, "told_wsh.py", handler("request.ws_stream.send_message('one')"))
    with wshost.Server(tmp_path) as server:
        assert answer() == "one"
        write(tmp_path, "told_wsh.py", handler("request.ws_stream.send_message('two')"))
        wait_until(lambda: answer() == "two", "the saved handler")


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(wshost.ServerError, match="klingon"):
        wshost.Server(tmp_path, options=["--handler-encoding", "klingon"]).start()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    for settings, named in [({"handlers": "gone"}, "handlers"), ({"document_root": "gone"}, "document_root")]:
        server = wshost.Server(**{"handlers": tmp_path, **settings})
        with pytest.raises(
            wshost.ServerError, match=f"^{named}: there is no folder {os.getcwd()}/gone; name one"
        ):
            server.start()


def test_there_is_no_url_before_the_start(tmp_path: Path) -> None:
    server = wshost.Server(tmp_path)
    for ask in (server.ws_url, server.http_url, server.connect):
        with pytest.raises(wshost.ServerError, match="no URL before its start; use it with `with`"):
            ask("/echo")


@pytest.mark.parametrize("tls", [False, True])
def test_a_refusal_has_its_status(tmp_path: Path, tls: bool) -> None:
    write(tmp_path, "never_wsh.py", handler("pass", handshake="raise RuntimeError('never')"))
    write(tmp_path, "echo_wsh.py", ECHO)
    options = ["--tls-self-signed"] if tls else ["--basic-auth"]
    with wshost.Server(tmp_path, options=options) as server:
        if not tls:
            with pytest.raises(InvalidStatus) as refused:
                server.connect("/echo")
            assert refused.value.response.status_code == 401
            assert refused.value.response.headers["WWW-Authenticate"].startswith("Basic ")
        allowed = {"Authorization": "Basic dGVzdDp0ZXN0"}
        for resource, status in [("/gone", 404), ("/never", 403)]:
            with pytest.raises(InvalidStatus) as refused:
                server.connect(resource, additional_headers=allowed)
            assert refused.value.response.status_code == status
            assert b"<html" in refused.value.response.body.lower()
        with server.connect("/echo", additional_headers=allowed) as client:
            client.send("x")
            assert client.recv(SECONDS) == "x"


def test_a_status_line_may_come_in_pieces() -> None:
    from wshost._client import _Renewed

    for answer, expected in [(b"HTTP/1.0 404 x", b"HTTP/1.1 404 x"), (b"HTTP/1.1 101 x", b"HTTP/1.1 101 x")]:
        for size in range(1, len(answer) + 1):
            taken = bytearray()
            take = _Renewed(taken.extend)
            for at in range(0, len(answer), size):
                take(answer[at : at + size])
            take(b"HTTP/1.0 ")
            assert taken == expected + b"HTTP/1.0 ", size


def test_the_example_project_passes(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "docs" / "example", tmp_path / "example")
    ran = pytest_in(tmp_path / "example", "-q")
    assert ran.returncode == 0, ran.stdout
    assert "3 passed" in ran.stdout


def test_the_examples_of_the_guide_run(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "guide.md").read_text(), re.S)
    fixtures, script = (
        next(block for block in blocks if what in block) for what in ["wshost_client", "wshost.Server("]
    )
    write(tmp_path, "handlers/echo_wsh.py", handler(ECHO_BODY, handshake=CHOOSE))
    write(tmp_path, "tests/handlers/echo_wsh.py", ECHO)
    write(tmp_path, "pytest.ini", "[pytest]\nwshost_options = --log-level info\n")
    write(tmp_path, "test_it.py", fixtures)
    ran = pytest_in(tmp_path, "-q", "test_it.py")
    assert "2 passed" in ran.stdout, ran.stdout
    command = [sys.executable, "-c", script]
    printed = subprocess.run(
        command, cwd=tmp_path, env=environment(), text=True, capture_output=True, timeout=60
    )
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/echo\n", printed.stdout), printed


def test_a_failed_test_shows_the_log(tmp_path: Path) -> None:
    body = "import logging\nlogging.warning('from the handler')\nrequest.ws_stream.send_message('x')"
    write(tmp_path, "handlers/logs_wsh.py", handler(body))
    write(
        tmp_path,
        "test_it.py",
        """
        def test_it(wshost_client, wshost_server):
            assert wshost_client("/logs").recv(timeout=10) == "y"
        """,
    )
    write(tmp_path, "pytest.ini", "[pytest]\n")
    ran = pytest_in(tmp_path)
    assert ran.returncode == 1
    assert "wshost log" in ran.stdout
    assert "from the handler" in ran.stdout


@pytest.fixture(scope="session")
def wshost_handlers() -> Path:
    return REPOSITORY / "tests" / "handlers" / "contract"


def test_the_fixtures_clients_are_entered(
    wshost_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `with` does: websockets 17 warns of the use of a connection that is not."""
    entered = []
    enter = ClientConnection.__enter__

    def note(client: ClientConnection) -> ClientConnection:
        entered.append(client)
        return enter(client)

    monkeypatch.setattr(ClientConnection, "__enter__", note)
    client = wshost_client("/echo")
    assert entered == [client]


def test_what_the_fixtures_serve_can_be_chosen(wshost_client: Callable[..., Any]) -> None:
    client = wshost_client("/echo")
    client.send("x")
    assert client.recv(timeout=SECONDS) == "x"
