"""What must not keep the server from ending or take it down: descriptors, files that hang, limits."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from serving import SECONDS, Start, handler, program, run, wait_until, write

CLOSES = """
import os
os.close(1)
os.close(2)
request.ws_stream.send_message("closed")
request.ws_stream.receive_message()
"""


def test_no_client_gets_the_number_of_a_standard_stream(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "closes_wsh.py", handler(CLOSES))
    server = start()
    folder = Path(f"/proc/{server.process.pid}/fd")
    with server.raw("/closes") as first:
        assert first.frame().payload == b"closed"
        # One that is accepted after that, and closes nothing itself.
        with server.raw("/none", upgraded=False) as second:
            assert second.response()[0] == 404
            wait_until(lambda: (folder / "2").exists(), "something at the number")
            for number in "12":
                assert os.readlink(folder / number) == "/dev/null"


@pytest.mark.parametrize("option", ["--fd", "--ready-fd"])
def test_a_standard_stream_is_refused(tmp_path: Path, option: str) -> None:
    done = run(option, "1", "-p", "0", "-d", str(tmp_path))
    assert done.returncode == 2
    assert "standard input, output and error" in done.stderr


@pytest.mark.parametrize("option", ["--fd", "--ready-fd"])
def test_a_descriptor_of_our_own_is_refused(tmp_path: Path, option: str) -> None:
    for number in range(3, 20):
        done = run(option, str(number), "-p", "0", "-d", str(tmp_path))
        assert done.returncode == 1
        assert "not open in this process" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_key_whose_read_hangs_does_not_hold_up_the_end(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    folder.mkdir()
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
    ]
    files = ["-keyout", str(folder / "k.pem"), "-out", str(folder / "c.pem")]
    subprocess.run([*made, *files], check=True, capture_output=True, timeout=SECONDS)
    pair = ["-t", "-c", str(folder / "c.pem"), "-k", str(folder / "k.pem")]
    server = start(*pair, "--grace", "1", "--log-level", "info")
    (folder / "k.pem").unlink()
    os.mkfifo(folder / "k.pem")
    server.process.send_signal(signal.SIGHUP)
    server.log.wait_for("Reading handlers and certificates again")
    assert server.stop() == 0


def test_a_limit_on_file_sizes_costs_the_write_only(start: Start, tmp_path: Path) -> None:
    body = """
    try:
        with open("big", "wb") as file:
            file.write(b"x" * 100000)
        said = "written"
    except OSError as error:
        said = type(error).__name__
    request.ws_stream.send_message(said)
    """
    write(tmp_path, "big_wsh.py", handler(body))
    limited = "import os,resource,sys; resource.setrlimit(resource.RLIMIT_FSIZE,(50000,50000)); "
    restored = (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    python = ["/usr/bin/env", "python3", "-c", limited + restored]
    server = start(command=[*python, *program()])
    assert server.ask("/big", None) == "OSError"
    assert server.ask("/big", None) == "OSError"
