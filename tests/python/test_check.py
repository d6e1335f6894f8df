"""`wshost check` and `wshost new`, and handlers that are still Python 2."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from serving import (
    ECHO,
    SECONDS,
    Output,
    Start,
    environment,
    handler,
    program,
    run,
    write,
)

PYTHON2 = """\
def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    try:
        print "Python 2"
        for number in xrange(2):
            request.ws_stream.send_message(unicode(number))
    except ValueError, error:
        raise error
"""

BROKEN = {
    "python2": (PYTHON2 + "\n\nexec 'x' in <>\n", 7, "port the line"),
    "missing": ("\nimport yaml\nimport not_there_at_all", 2, None),
    "unpublished": ("import not_there_at_all", 1, "-m pip install not_there_at_all"),
    "renamed": ("import StringIO", 1, "in Python 3 it is io"),
    "unported": ("x = 1\nlimit = xrange(3)", 2, "in Python 3 it is range"),
    "older": ("\nfrom pywebsocket3 import _stream_hixie75", 2, "use pywebsocket3.stream"),
    "helped": ("import helper", 1, "PYTHONPATH="),
    "syntax": ("def f(:", 1, "correct the line"),
    "no_data": (
        "def web_socket_do_extra_handshake(request): pass",
        None,
        "`def web_socket_transfer_data(request):`",
    ),
    "not_callable": (ECHO + "\nweb_socket_do_extra_handshake = 1", None, "`def web_socket_do_extra_h"),
    "signature": (
        "def web_socket_do_extra_handshake(): pass\ndef web_socket_transfer_data(request): pass",
        1,
        "`def web_socket_do_extra_handshake(request):`",
    ),
    "coroutine": (
        "def web_socket_do_extra_handshake(request): pass\nasync def web_socket_transfer_data(request): pass",
        2,
        "calls block",
    ),
}  # fmt: skip


def check(*arguments: str, way: str = "binary", **env: str) -> "subprocess.CompletedProcess[str]":
    """Runs `wshost check`."""
    return subprocess.run(
        [*program(way), "check", *arguments],
        env=environment(LC_ALL="C.UTF-8", **env),
        text=True,
        capture_output=True,
        timeout=60,
    )


def check_json(*arguments: str, **settings: str) -> dict[str, Any]:
    """Runs it with `--json`: the object, handlers by resource."""
    checked = check("--json", *arguments, **settings)
    told = json.loads(checked.stdout)
    assert checked.returncode == bool(told["failed"] or told["map_problems"]), checked
    told["handlers"] = {one["resource"]: one for one in told["handlers"]}
    return dict(told)


def test_handlers_that_are_well(tmp_path: Path, way: str) -> None:
    write(tmp_path, "a/echo_wsh.py", "import os\nfrom pywebsocket3 import common\nprint('noise')\n" + ECHO)
    write(tmp_path, "map.txt", "/alias /a/echo")
    told = check_json("-d", str(tmp_path), "-m", "map.txt", way=way)
    assert told["failed"] == 0
    echo = told["handlers"]["/a/echo"]
    assert echo["aliases"] == ["/alias"]
    assert echo["file"] == f"{tmp_path}/a/echo_wsh.py"
    assert echo["functions"] == ["web_socket_do_extra_handshake", "web_socket_transfer_data"]
    assert echo["imports"] == ["os", "pywebsocket3"]
    assert (echo["state"], echo["problems"]) == ("ok", [])
    checked = check(str(tmp_path), way=way)
    assert checked.returncode == 0, checked
    assert "noise" in checked.stderr
    assert "noise" not in checked.stdout
    row = next(line for line in checked.stdout.splitlines() if "/a/echo" in line)
    assert row == "/a/echo   a/echo_wsh.py  handshake, data  os, pywebsocket3  ok"


def test_each_problem_has_its_place_and_its_remedy(tmp_path: Path) -> None:
    for name, (source, _, _) in BROKEN.items():
        (tmp_path / f"{name}_wsh.py").write_text(source)
    (tmp_path / "latin_wsh.py").write_bytes(b"# -*- coding: latin-1 -*-\n# \xe9\n" + ECHO.encode())
    write(tmp_path, "helper.py", "")
    write(tmp_path, "echo_wsh.py", ECHO)
    told = check_json("--websock-handlers", str(tmp_path))
    assert told["handlers"].pop("/echo")["state"] == "ok"
    assert told["failed"] == len(told["handlers"]) == len(BROKEN) + 1
    latin = told["handlers"].pop("/latin")
    assert latin["problems"][0]["line"] == 2
    assert "--handler-encoding latin-1" in latin["problems"][0]["remedy"]
    for resource, one in told["handlers"].items():
        _, line, remedy = BROKEN[resource[1:]]
        assert one["state"] == "failed"
        problem = one["problems"][0]
        assert problem["reason"]
        if line is not None:
            assert (problem["file"], problem["line"]) == (one["file"], line), problem
        if remedy is not None:
            assert remedy in problem["remedy"], problem
    table = check(str(tmp_path))
    assert table.returncode == 1
    assert "unpublished_wsh.py:1: " in table.stdout
    assert f"1 ok, 0 with a warning, {len(BROKEN) + 1} failed" in table.stdout


def test_what_loads_but_uses_old_names_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, "old_wsh.py", handler("request.ws_stream.send_message(request.ws_location)"))
    write(tmp_path, "close_wsh.py", ECHO + "\nweb_socket_passive_closing_handshake = 5\n")
    told = check_json(str(tmp_path))
    assert [told["handlers"][name]["state"] for name in ("/old", "/close")] == ["warning", "warning"]
    (problem,) = told["handlers"]["/old"]["problems"]
    assert problem["line"] == 8
    assert "headers_in" in problem["remedy"]
    assert told["failed"] == 0


def test_aliases_that_lead_nowhere_fail(tmp_path: Path) -> None:
    write(tmp_path, "map.txt", "/alias /nowhere")
    told = check_json("-d", str(tmp_path), "-m", "map.txt")
    assert "/nowhere" in told["map_problems"][0]
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "map.txt", "/a /echo\n/b /echo\n/c /nowhere\nnothing\n/d\n")
    whole = run("check", "-d", str(tmp_path), "-m", "map.txt")
    assert whole.stdout.endswith("; map file: 2 aliases, 3 wrong lines\n"), whole
    assert f"{tmp_path}/map.txt:4: 'nothing'; write ALIAS RESOURCE" in whole.stdout.replace('"', "'"), whole
    assert whole.returncode == 1


def test_options_of_the_server_count(tmp_path: Path) -> None:
    (tmp_path / "latin_wsh.py").write_bytes(b"# \xe9\n" + ECHO.encode())
    assert check_json(str(tmp_path))["failed"] == 1
    assert check_json("--handler_encoding", "latin-1", str(tmp_path))["failed"] == 0
    ini = write(tmp_path, "ws.ini", "[pywebsocket]\nhandler_encoding = latin-1\n")
    assert check_json("--config", str(ini), str(tmp_path))["failed"] == 0


def test_usage_and_directories_that_are_not_there(tmp_path: Path) -> None:
    assert check("--nonsense").returncode == 2
    gone = check(str(tmp_path / "gone"))
    assert gone.returncode == 1
    assert gone.stderr.startswith("wshost: --websock-handlers")


def test_handlers_that_take_long_are_waited_for(tmp_path: Path) -> None:
    write(tmp_path, "slow_wsh.py", "import time\ntime.sleep(0.5)\n" + ECHO)
    assert check_json(str(tmp_path))["handlers"]["/slow"]["state"] == "ok"


def test_a_terminal_gets_a_progress_bar(tmp_path: Path) -> None:
    write(tmp_path, "slow_wsh.py", "import time\ntime.sleep(0.5)\n" + ECHO)
    ours, theirs = pty.openpty()
    command = [*program(), "check", str(tmp_path)]
    with subprocess.Popen(command, env=environment(TERM="xterm"), stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 4096):
                shown += data
        except OSError:
            pass  # Linux: the other end is closed.
        os.close(ours)
        assert process.wait(SECONDS) == 0
    assert b"0/1" in shown
    assert b"1/1" in shown
    assert shown.index(b"1/1") < shown.index(b"resource")


def test_watch_reports_again(tmp_path: Path) -> None:
    write(tmp_path, "a_wsh.py", "import not_there_at_all")
    process = subprocess.Popen(
        [*program(), "check", "--watch", str(tmp_path)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        output = Output(process.stdout)
        output.wait_for("0 ok, 0 with a warning, 1 failed")
        write(tmp_path, "a_wsh.py", ECHO)
        output.wait_for("1 ok, 0 with a warning, 0 failed")
    finally:
        process.kill()
        process.wait(SECONDS)


def test_a_python_2_handler_serves(start: Start, tmp_path: Path, way: str) -> None:
    path = write(tmp_path, "old_wsh.py", PYTHON2)
    server = start(way=way)
    with server.talk("/old") as client:
        assert [client.recv(SECONDS), client.recv(SECONDS)] == ["0", "1"]
    assert server.log.text.count("is Python 2") == 1
    assert f"{path}: is Python 2" in server.log.text
    assert path.read_text() == PYTHON2


def test_without_the_converter_the_error_says_how_to_get_it(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "hidden/sitecustomize.py", "import sys\nsys.modules['fissix'] = None")
    write(tmp_path, "old_wsh.py", PYTHON2)
    write(tmp_path, "wrong_wsh.py", "def f(:")
    hidden = {"PYTHONPATH": str(tmp_path / "hidden")}
    server = start(way="wheel", env=environment(**hidden))
    lines = server.log.text.splitlines()
    assert sum("pip install fissix" in line for line in lines) == 1
    assert server.status("/old") == 404
    told = check_json(str(tmp_path), way="wheel", **hidden)
    assert "pip install fissix" in told["handlers"]["/old"]["problems"][0]["remedy"]
    assert told["handlers"]["/wrong"]["problems"][0]["remedy"] == "correct the line"
    fix = check("--fix", str(tmp_path), way="wheel", **hidden)
    assert fix.returncode == 1
    assert "pip install fissix" in fix.stderr


def test_fix_shows_the_changes_and_writes_them_on_request(tmp_path: Path) -> None:
    path = write(tmp_path, "old_wsh.py", PYTHON2)
    path.chmod(0o640)
    write(tmp_path, "echo_wsh.py", ECHO)
    assert check_json(str(tmp_path))["handlers"]["/old"]["python2"]
    shown = check("--fix", str(tmp_path))
    assert shown.returncode == 1
    lines = shown.stdout.splitlines()
    assert '-        print "Python 2"' in lines
    assert '+        print("Python 2")' in lines
    assert "1 to convert" in shown.stdout
    assert path.read_text() == PYTHON2
    written = check("--fix", "--write", str(tmp_path))
    assert written.returncode == 0
    assert 'print("Python 2")' in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == [tmp_path / "echo_wsh.py", path]
    assert not check_json(str(tmp_path))["handlers"]["/old"]["python2"]
    assert (tmp_path / "echo_wsh.py").read_text() == write(tmp_path, "same.py", ECHO).read_text()


def test_new_writes_a_handler_and_a_test_that_passes(tmp_path: Path) -> None:
    made = run("new", "room/my-chat", "--into", str(tmp_path))
    assert made.returncode == 0, made
    files = [tmp_path / "handlers/room/my-chat_wsh.py", tmp_path / "tests/test_room_my_chat.py"]
    assert made.stdout.split() == list(map(str, files))
    again = run("new", "room/my-chat", "--into", str(tmp_path))
    assert again.returncode == 1
    assert "is there already" in again.stderr
    refused = run("new", "../x", "--into", str(tmp_path))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert not (tmp_path.parent / "handlers").exists()
    assert run("new", "v1.0/chat", "--into", str(tmp_path)).returncode == 0
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=environment(),
        text=True,
        capture_output=True,
        timeout=90,
    )
    assert "4 passed" in tested.stdout, tested
    command = [sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases", *map(str, files[:1])]
    shutil.copy(files[0], files[0].with_name("my_chat.py"))
    command[-1] = str(files[0].with_name("my_chat.py"))
    typed = subprocess.run(
        command, cwd=tmp_path, env=environment(), text=True, capture_output=True, timeout=90
    )
    assert typed.returncode == 0, typed.stdout
