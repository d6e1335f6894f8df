"""Numbers that are far too large are refused in one line, or as good as for ever: no panic, no hang."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from serving import ECHO, SECONDS, Server, Start, close_body, environment, program, run, wait_until, write

SECONDS_OPTIONS = ["--grace", "--head-timeout", "--ping-interval", "--ping-timeout", "--reload-poll"]
# What kinds of numbers end at, and what some readers take for numbers.
TOO_LARGE = ["1000000001", "1e10", "1e18", "9223372036854775807", "18446744073709551615", "1e300", "1e1000"]
TOO_LARGE += ["inf", "nan", "-1", "\uff11"]
WHOLE_OPTIONS = [
    "--reload-delay",
    "--max-message-size",
    "--max-total-message-size",
    "--log-max",
    "--log-count",
    "--queue",
    "--port",
]
WHOLE_OPTIONS += ["--thread-monitor-interval-in-sec", "--fd", "--ready-fd", "--validation-port"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *itertools.product(SECONDS_OPTIONS, TOO_LARGE),
        *itertools.product(WHOLE_OPTIONS, ["18446744073709551616", "1e9", "0x10", "\uff11"]),
        ("--reload-delay", "1000000000001"),
        ("--reload-delay", "18446744073709551615"),
    ],
)
def test_what_cannot_be_counted_with_is_refused(tmp_path: Path, option: str, value: str) -> None:
    ended = run("-d", str(tmp_path), "-p", "0", f"{option}={value}")
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert option in ended.stderr


def test_a_file_of_options_is_held_to_the_same(tmp_path: Path) -> None:
    config = write(tmp_path, "options", "[pywebsocket]\ngrace = 1e18\n")
    ended = run("--config", str(config), "-p", "0")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert "--grace" in ended.stderr


def serves(server: Server) -> None:
    """The server serves, and stops; nothing has panicked."""
    with server.raw("/echo") as client:
        client.send(1, b"hello")
        assert client.frame().payload == b"hello"
        client.send(8, close_body(1000))
        client.rest()
    assert server.stop() == 0
    assert "panicked" not in server.log.rest()


def test_the_largest_numbers_serve(start: Start, tmp_path: Path, way: str) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    largest = str(2**63 - 1)
    options = [f"{option}=1e9" for option in SECONDS_OPTIONS]
    options += [
        "--reload-delay",
        str(10**12),
        "--max-message-size",
        str(2**64 - 1),
        "--max-total-message-size",
        str(2**64 - 1),
        "--queue",
        str(2**31 - 1),
    ]
    options += ["--log-max", largest, "--log-count", largest, "--thread-monitor-interval-in-sec", largest]
    serves(start(*options, "--log-level", "info", way=way))


def test_a_silent_client_is_waited_for_as_long_as_can_be(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--ping-interval", "0.01", "--ping-timeout", "1e9")
    with server.raw("/echo") as client:
        assert client.frame().opcode == 9
    serves(server)


def test_as_many_old_logs_as_can_be_are_kept(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start("--log-level", "debug", "-l", "log", "--log-max", "1", "--log-count", str(2**63 - 1))
    server.ask("/echo", "x")
    # They are the oldest.
    wait_until(lambda: (tmp_path / "log.3").exists(), "logs that are set aside")
    serves(server)


def test_sockets_that_systemd_does_not_pass(tmp_path: Path) -> None:
    """A number that would take gigabytes to write out."""
    place = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"
    ended = subprocess.run(
        [sys.executable, "-c", place, *program(), "-d", str(tmp_path)],
        env=environment(LISTEN_FDS=str(2**31 - 1)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert "file descriptor 3: " in ended.stderr


@pytest.mark.parametrize("timeout", [1e300, float("inf")])
def test_a_server_of_a_test_waits_as_long_as_can_be(tmp_path: Path, timeout: float) -> None:
    wshost = pytest.importorskip("wshost")
    write(tmp_path, "echo_wsh.py", ECHO)
    with wshost.Server(tmp_path, timeout=timeout, env={**os.environ, **environment()}) as server:
        with server.connect("/echo") as client:
            client.send("hello")
            assert client.recv() == "hello"
        server.wait_for_log("listening on ")
    with pytest.raises(ValueError, match="timeout"):
        wshost.Server(tmp_path, timeout=float("nan"))
