"""Starting and stopping: what is said, and the exit codes."""

import re
import signal
import socket
from pathlib import Path
from typing import Optional

import pytest
from serving import ECHO, SECONDS, Start, environment, handler, program, run, write


def one_line(text: str, pattern: str) -> bool:
    """Whether the text is one line that matches the pattern from its first character."""
    return bool(re.match(pattern, text)) and text.count("\n") == 1 and text.endswith("\n")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["-d", "missing"], "--document-root .*missing: "),
        (["-w", "missing"], "--websock-handlers .*missing: "),
        (["-s", "missing"], "--scan-dir .*missing: "),
        (["-d", "file"], "--document-root .*file: "),
        (["-m", "missing"], "--websock-handlers-map-file .*missing: "),
        (["-m", "folder"], "--websock-handlers-map-file .*folder: "),
        (["-l", "missing/log"], "--log-file .*missing/log: "),
        (["-w", "folder", "-s", "other"], "--scan-dir .*other: must be .* under --websock-handlers .*folder"),
        (["--ready-file", "missing/ready"], "--ready-file missing/ready: "),
        (["-H", "host.invalid"], "--server-host host.invalid: "),
    ],
)
def test_what_stops_the_start_is_one_line_and_1(
    tmp_path: Path, way: str, options: list[str], named: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    ended = run("-H", "127.0.0.1", "-p", "0", *options, way=way, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    assert one_line(ended.stderr, f"wshost: {named}"), ended.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["-p", "65536"], "65536"),
        (["-p", "-1"], "-1"),
        (["-p", "http"], "http"),
        (["--no-such-option"], "--no-such-option"),
        (["--log-level", "loud"], "loud"),
        (["--max-message-size", "0"], "--max-message-size"),
        (["--grace", "soon"], "soon"),
        (["-d"], "--document-root"),
        (["--documnt-root", "."], "similar argument exists: '--document-root'"),
        (["-p", "0", "extra"], "'extra'"),
        (["chek"], "similar subcommand exists: 'check'"),
        (["-p", "0", "check"], "'--port' cannot stand before the subcommand 'check'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(
    tmp_path: Path, way: str, options: list[str], named: str
) -> None:
    ended = run(*options, way=way, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert one_line(ended.stderr, f"wshost: .*{named}.*; see --help"), ended.stderr


def test_a_port_in_use(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(way=way)
    ended = run("-H", "127.0.0.1", "-p", str(server.port), "-d", str(tmp_path), way=way)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert one_line(ended.stderr, rf"wshost: cannot listen on 127\.0\.0\.1:{server.port}: .*in use.*--port")
    assert server.ask("/echo", "x") == "x"


def test_bad_lines_of_a_map_file_cost_only_themselves(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    (tmp_path / "names").write_bytes(b"# names\n\n/a /echo\nbad\n/b /nothing\n/\xff /echo\n/c /echo\n")
    server = start("-m", "names", way=way)
    log = server.log.text
    place = re.escape(f"{tmp_path}/names")
    assert re.search(rf"\[WARNING\] root: .*{place}:4: ", log)
    assert re.search(rf"\[ERROR\] root: .*{place}:5: .*'/nothing'", log)
    assert re.search(rf"\[WARNING\] root: .*{place}:6: .*UTF-8", log)
    assert len(re.findall(rf"{place}:\d", log)) == 3
    assert [server.ask(name, "x") for name in ("/a", "/c")] == ["x", "x"]
    assert server.status("/b") == 404


def test_version_says_which_python(way: str) -> None:
    ended = run("--version", way=way)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert re.fullmatch(r"wshost \d+\.\d+\.\d+\S*", lines[0])
    assert re.match(r"Python 3\.\d+\.\d+", lines[1])
    assert [line.split()[0] for line in lines[2:]] == ["libpython", "prefix", "site-packages"]
    for line in lines[2:]:
        assert Path(line.split(maxsplit=1)[1]).exists(), line


def test_help_lists_the_options(way: str) -> None:
    ended = run("--help", way=way)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert set(re.findall(r"--[a-z-]+", ended.stdout)) >= {
        "--port",
        "--document-root",
        "--websock-handlers",
        "--scan-dir",
        "--no-reload",
        "--ready-file",
        "--python",
    }


def test_readiness_is_told_once(start: Start, tmp_path: Path, way: str) -> None:
    server = start("--ready-file", "told", way=way, cwd=tmp_path)
    url = f"http://127.0.0.1:{server.port}/"
    assert (tmp_path / "told").read_text() == f"{server.port}\n{url}\n"
    assert server.stop() == 0
    assert server.log.rest() == f"wshost: listening on {url} (ws://127.0.0.1:{server.port}/)\n"
    assert server.output.rest() == ""


def test_the_log_goes_to_a_file_and_readiness_to_stderr(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "a_wsh.py", handler("raise KeyError('k')"))
    (tmp_path / "log").write_text("old\n")
    server = start("-l", "log", way=way)
    with server.raw("/a") as client:
        client.rest()
    assert server.stop() == 0
    assert server.log.rest().startswith("wshost: listening on ")
    assert server.log.rest().count("\n") == 1
    log = (tmp_path / "log").read_text()
    assert log.startswith("old\n[")
    assert "KeyError" in log


BUSY = {
    "sleeps": "time.sleep(3600)",
    "counts": "while True: pass",
    "waits": "request.ws_stream.receive_message()",
    "has a thread": "threading.Thread(target=time.sleep, args=(3600,)).start()\ntime.sleep(3600)",
}


@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_whatever_handlers_do(
    start: Start, tmp_path: Path, way: str, busy: str, number: int
) -> None:
    write(tmp_path, "a_wsh.py", handler(f"print('busy')\n{BUSY[busy]}", before="import threading, time"))
    server = start("--grace", "0.1", way=way)
    with server.raw("/a") as client:
        server.output.wait_for("^busy$")
        assert server.stop(number) == 0
        assert client.rest() == b"\x88\x02\x03\xe9"
    assert "Traceback" not in server.log.rest()


def test_a_port_is_free_again_after_a_stop(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    first = start()
    with first.talk("/echo"):
        assert first.stop() == 0
    second = start("-p", str(first.port))
    assert second.port == first.port
    assert second.ask("/echo", "x") == "x"


def answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), SECONDS):
            return True
    except ConnectionRefusedError:
        return False


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("host", "v4", "v6"),
    [(None, True, True), ("127.0.0.1", True, False), ("::1", False, True)],
)
def test_which_addresses_are_listened_on(
    start: Start, way: str, host: Optional[str], v4: bool, v6: bool
) -> None:
    if v6 and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    server = start(way=way, host=host)
    assert (answers("127.0.0.1", server.port), answers("::1", server.port)) == (v4, v6)


def test_connections_over_ipv6(start: Start, tmp_path: Path) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    body = """
        addresses = request.connection.remote_addr, request.connection.local_addr
        request.ws_stream.send_message(repr(addresses))
        """
    write(tmp_path, "a_wsh.py", handler(body))
    server = start(host="::1")
    with server.raw("/a") as client:
        port = client.socket.getsockname()[1]
        assert client.frame().payload.decode() == repr((("::1", port, 0, 0), ("::1", server.port)))


def test_a_closed_stderr_stops_nothing(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "a_wsh.py", handler("raise KeyError('k')"))
    write(tmp_path, "echo_wsh.py", ECHO)
    # A program without stdout and stderr, as a daemon has it.
    shell = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh"]

    server = start(way=way, command=[*shell, *program(way)], env=environment())
    with server.raw("/a") as client:
        assert client.rest() == b""
    assert server.ask("/echo", "x") == "x"
