"""Handler files as Python sees them: modules, encodings, what they can import, files that do not load."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from serving import ECHO, Server, Start, environment, handler, program, run, write

UNUSABLE = {
    "raises": ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
    "syntax": ("def f(:", "SyntaxError"),
    "python2": ("print 'x'\nexec 'x' in <>", "SyntaxError"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "nul": ("x = '\0'", "null bytes"),
    "no_handshake": (
        "def web_socket_transfer_data(request): pass",
        "web_socket_do_extra_handshake is not defined.",
    ),
    "no_data": (
        "def web_socket_do_extra_handshake(request): pass",
        "web_socket_transfer_data is not defined.",
    ),
    "no_function": (
        "web_socket_do_extra_handshake = 1\ndef web_socket_transfer_data(request): pass",
        "web_socket_do_extra_handshake is not callable.",
    ),
    "empty": ("", "web_socket_do_extra_handshake is not defined."),
}


def test_each_unusable_file_is_one_warning(start: Start, tmp_path: Path, way: str) -> None:
    for name, (source, _) in UNUSABLE.items():
        write(tmp_path, f"{name}_wsh.py", source)
    (tmp_path / "latin_wsh.py").write_bytes(b"# \xe9")
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(way=way, env=environment(LC_ALL="C.UTF-8"))
    log = server.log.text
    for name, (_, reason) in UNUSABLE.items():
        lines = [line for line in log.split("\n") if line.startswith("[") and f"/{name}_wsh.py" in line]
        assert len(lines) == 1, log
        assert "[WARNING]" in lines[0]
        assert f"{tmp_path}/{name}_wsh.py: " in lines[0]
        assert reason in lines[0]
        assert server.status(f"/{name}") == 404
    assert re.search(r"\[WARNING\].*/latin_wsh\.py: .*--handler-encoding$", log, re.M), log
    assert f'File "{tmp_path}/raises_wsh.py", line 1, in <module>' in log
    assert server.ask("/echo", "x") == "x"
    assert "echo_wsh" not in log


@pytest.mark.parametrize("option", ["--handler-encoding", "--handler_encoding"])
def test_the_encoding_of_handlers(start: Start, tmp_path: Path, way: str, option: str) -> None:
    source = handler("request.ws_stream.send_message(TEXT)", before="TEXT = 'é'")
    (tmp_path / "latin_wsh.py").write_text(source, encoding="latin-1")
    (tmp_path / "utf_wsh.py").write_text(source, encoding="utf-8")
    latin = start(option, "latin-1", way=way)
    assert latin.ask("/latin", None) == "é"
    assert latin.ask("/utf", None) == "é".encode().decode("latin-1")
    utf = start(option, "utf-8", way=way)
    assert utf.ask("/utf", None) == "é"
    assert utf.status("/latin") == 404


def test_an_unknown_encoding_stops_the_start(tmp_path: Path, way: str) -> None:
    ended = run("-p", "0", "-d", str(tmp_path), "--handler-encoding", "klingon", way=way)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"wshost: --handler-encoding klingon: .*\n", ended.stderr)


def test_a_handler_is_a_module(start: Start, tmp_path: Path, way: str) -> None:
    source = handler(
        """
        stored = pickle.loads(pickle.dumps(Point(1, Kind.ODD)))
        told = {
            "file": __file__,
            "module": sys.modules[__name__].__dict__ is globals(),
            "pickled": stored == Point(1, Kind.ODD) and type(stored) is Point,
            "hints": typing.get_type_hints(Point)["kind"] is Kind,
            "source": inspect.getsource(Point).startswith("@dataclasses"),
        }
        request.ws_stream.send_message(json.dumps(told))
        """,
        before="""
        from __future__ import annotations
        import dataclasses, enum, inspect, json, pickle, sys, typing

        class Kind(enum.Enum):
            ODD = 1

        @dataclasses.dataclass
        class Point:
            counted: typing.ClassVar[int] = 0
            x: int
            kind: Kind
        """.replace("\n        ", "\n"),
    )
    # Names that are no identifiers, and the same name twice, are fine.
    for name in ["a", "sub/a", "b-c.d"]:
        path = write(tmp_path, f"{name}_wsh.py", source)
    server = start(way=way)
    for name in ["a", "sub/a", "b-c.d"]:
        path = tmp_path / f"{name}_wsh.py"
        told = json.loads(server.ask(f"/{name}", None))
        assert told == {"file": str(path), "module": True, "pickled": True, "hints": True, "source": True}


TRY_IMPORTS = handler(
    "request.ws_stream.send_message(FOUND)",
    before="""
def there(name):
    try:
        return bool(__import__(name))
    except ImportError:
        return False

FOUND = " ".join(name for name in ("started_in", "beside", "installed") if there(name))
""",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Folders with a module each: `start`, where the program is started, and `root`, with the handlers."""
    write(tmp_path, "start/started_in.py", "")
    write(tmp_path, "root/beside.py", "")
    write(tmp_path, "root/a_wsh.py", TRY_IMPORTS)
    return tmp_path


def test_modules_come_from_where_it_was_started(start: Start, tree: Path, way: str) -> None:
    # As `python -m pywebsocket3.standalone`: the document root, which becomes the working directory, is not
    # looked at.
    assert start(root=tree / "root", cwd=tree / "start", way=way).ask("/a", None) == "started_in"
    assert start(root=tree / "root", cwd=tree / "root", way=way).ask("/a", None) == "beside"


def test_pythonpath_is_looked_at(start: Start, tree: Path, way: str) -> None:
    env = environment(PYTHONPATH=str(tree / "root"))
    assert (
        start(root=tree / "root", cwd=tree / "start", way=way, env=env).ask("/a", None) == "started_in beside"
    )


def test_the_working_directory_is_the_document_root(start: Start, tree: Path, way: str) -> None:
    write(tree, "root/b_wsh.py", handler("request.ws_stream.send_message(os.getcwd())", before="import os"))
    assert start(root=tree / "root", cwd=tree, way=way).ask("/b", None) == str(tree / "root")


@pytest.fixture
def other_environment(tree: Path) -> Path:
    """A virtual environment of the binary's Python, with the module `installed` in it."""
    version = run("--version").stdout
    found = re.search(r"^Python (\d+\.\d+)(?:.*\n)*?prefix (.*)$", version, re.M)
    assert found, version
    minor, prefix = found.groups()
    folder = tree / "venv"
    python = f"{prefix}/bin/python{minor}"
    if not Path(python).exists():
        pytest.skip(f"no {python} to make a virtual environment with")
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True, env=environment())
    write(folder, f"lib/python{minor}/site-packages/installed.py", "")
    return folder


@pytest.mark.parametrize("by", ["VIRTUAL_ENV", "--python folder", "--python interpreter"])
def test_packages_of_a_virtual_environment(tree: Path, other_environment: Path, by: str) -> None:
    options, env = [], environment()
    if by == "VIRTUAL_ENV":
        env = environment(VIRTUAL_ENV=str(other_environment))
    else:
        # Relative to where it is started.
        named = "../venv" if by == "--python folder" else "../venv/bin/python"
        options = ["--python", named]
    with Server(tree / "root", *options, env=env, cwd=tree / "start") as server:
        assert server.ask("/a", None) == "started_in installed"
    described = run(*options, "--version", env=env, cwd=tree / "start").stdout
    assert f"\nprefix {other_environment}\n" in described
    assert f"\nsite-packages {other_environment}/lib/" in described


def test_python_beats_virtual_env(tree: Path, other_environment: Path) -> None:
    env = environment(VIRTUAL_ENV=str(tree / "not there"))
    described = run("--python", str(other_environment), "--version", env=env)
    assert described.returncode == 0, described.stderr
    assert f"\nprefix {other_environment}\n" in described.stdout


def test_an_environment_of_another_python_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    write(folder, "pyvenv.cfg", "home = /usr/bin\nversion = 3.8.1\n")
    write(folder, "bin/python", "")
    for options, env, named in [
        ([], environment(VIRTUAL_ENV=str(folder)), "VIRTUAL_ENV"),
        (["--python", str(folder)], environment(), "--python"),
    ]:
        ended = run(*options, "-p", "0", "-d", str(tmp_path), env=env)
        assert (ended.returncode, ended.stdout) == (1, "")
        told = f"wshost: cannot start Python: {named} {folder}/bin/python: is for Python 3.8, but "
        assert ended.stderr.startswith(told), ended.stderr
        assert ended.stderr.count("\n") == 1


def test_an_environment_that_is_not_there_is_named(tmp_path: Path) -> None:
    env = environment(VIRTUAL_ENV=str(tmp_path / "gone"))
    ended = run("--version", env=env)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(rf"wshost: .*VIRTUAL_ENV {tmp_path}/gone: .*\n", ended.stderr)


def test_the_wheel_does_not_choose_a_python(tmp_path: Path) -> None:
    ended = run("--python", "python3", "-p", "0", "-d", str(tmp_path), way="wheel")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"wshost: .*--python: .*\n", ended.stderr)


def test_the_console_script_serves(start: Start, tmp_path: Path) -> None:
    script = Path(program("wheel")[0]).with_name("wshost")
    if not script.exists():
        pytest.skip(f"no {script}")
    write(tmp_path, "echo_wsh.py", ECHO)
    assert start(command=[str(script)]).ask("/echo", "x") == "x"
