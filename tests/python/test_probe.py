"""`wshost probe`: what it tells of a server, and its exit code."""

import re
import socket
from pathlib import Path

import pytest
from serving import ECHO, Start, handler, run, write

OPEN = r"open after \d+\.\d ms"


def test_a_handler_is_opened_and_closed(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--log-level", "debug", way=way)
    url = f"ws://{server.address}/echo"
    probed = run("probe", url, way=way)
    assert (probed.returncode, probed.stderr) == (0, "")
    assert re.fullmatch(f"{re.escape(url)}: {OPEN}; closed\n", probed.stdout)
    server.log.wait_for("1000")


def test_the_subprotocol_that_was_chosen_is_told(start: Start, tmp_path: Path) -> None:
    choose = "request.ws_protocol = request.ws_requested_protocols[1]"
    write(tmp_path, "a_wsh.py", handler("request.ws_stream.receive_message()", handshake=choose))
    url = f"ws://{start().address}/a"
    probed = run("probe", "--protocol", "one", "--protocol", "two", url)
    assert re.search(f"{OPEN}, subprotocol two; closed", probed.stdout), probed


def test_a_refusal_has_its_status(start: Start, tmp_path: Path) -> None:
    refuse = "from pywebsocket3 import handshake\nraise handshake.HandshakeException('no', status=403)"
    write(tmp_path, "a_wsh.py", handler("pass", handshake=refuse))
    server = start()
    for resource, status in [("/a", "403 Forbidden"), ("/none", "404 Not Found")]:
        url = f"ws://{server.address}{resource}"
        probed = run("probe", url)
        assert (probed.returncode, probed.stdout) == (1, "")
        assert probed.stderr == f"wshost: {url}: refused with {status}\n"


def test_tls(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--tls-self-signed")
    url = f"wss://{server.address}/echo"
    assert run("probe", "--insecure", url).returncode == 0
    usage = run("probe", url)
    assert usage.returncode == 2
    assert "wss:// needs --ca FILE, or --insecure" in usage.stderr
    plain = run("probe", url.replace("wss:", "ws:"))
    assert plain.returncode == 1


@pytest.mark.parametrize("is_listening", [False, True])
def test_nobody_answers(is_listening: bool) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if is_listening:
            silent.listen()
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/a"
        probed = run("probe", "--timeout", "0.3", url)
    assert (probed.returncode, probed.stdout) == (1, "")
    said = "no answer within 0.3 s; --timeout SECONDS" if is_listening else "is the server running?"
    assert said in probed.stderr
