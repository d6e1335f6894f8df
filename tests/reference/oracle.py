"""Installs the oracle, pywebsocket3 4.0.2 from PyPI, into `.cache/oracle/` of the checkout.

It gets a venv of its own, so that its package never meets ours in one interpreter. Test sessions that run
in parallel share it: the first one installs, the others wait on a lock.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

VERSION = "4.0.2"
REPOSITORY = Path(__file__).resolve().parents[2]
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_WPTSERVE = ["wptserve==4.0.3", "h2==4.1.0", "hpack==4.0.0", "hyperframe==6.0.1"]

# The oracle has only the new package name. Handlers import either, so the old name is an alias that an
# import finds first: a package that puts the modules of the new one into `sys.modules`.
_ALIAS = """\
import importlib
import sys

_NEW = "pywebsocket3"
_OLD = "mod_pywebsocket"
for _name in (
    "", ".common", ".dispatch", ".extensions", ".handshake", ".handshake.base", ".handshake.hybi",
    ".http_header_util", ".memorizingfile", ".msgutil", ".stream", ".util",
):
    sys.modules[_OLD + _name] = importlib.import_module(_NEW + _name)
"""

# Runs the oracle's own command line. The one thing added: once the listeners are up, the port goes to a file
# descriptor, so that nobody has to guess when the server is ready.
_RUNNER = """\
import os
import sys

from pywebsocket3 import standalone


class ReadyServer(standalone.WebSocketServer):
    def serve_forever(self, poll_interval=0.5):
        with os.fdopen(int(sys.argv[1]), "w") as ready:
            print(self.server_port, file=ready)
        super().serve_forever(poll_interval)


standalone.WebSocketServer = ReadyServer
standalone._main(sys.argv[2:])
"""


@dataclass(frozen=True)
class Oracle:
    """An installed oracle."""

    python: Path
    """Interpreter of its venv."""
    source: Path
    """Its unpacked source distribution, `example/` and `test/` included."""
    runner: Path
    """Script that starts it: `RUNNER READY_FD OPTION...`."""
    alias: Path
    """Folder for `PYTHONPATH` that makes `mod_pywebsocket` another name of its package."""


def install() -> Oracle:
    """Returns the oracle, downloaded and installed when this is the first run."""
    home = REPOSITORY / ".cache" / "oracle" / f"python{_PYTHON}"
    source = home / f"pywebsocket3-{VERSION}"
    oracle = Oracle(home / "venv" / "bin" / "python", source, home / "run.py", home / "alias")
    home.mkdir(parents=True, exist_ok=True)
    complete = home / "complete"
    with _locked(home / "lock"):
        if not complete.exists():
            _download(home)
            _make_venv(oracle, home)
            complete.touch()
        # Cheap, and always as this file says.
        write(oracle.alias / "mod_pywebsocket" / "__init__.py", _ALIAS)
        write(oracle.runner, _RUNNER)
    return oracle


def install_wptserve() -> Path:
    """A folder for `PYTHONPATH` with WPT's server and its HTTP/2; installed when this is the first run.

    Without dependencies: wptserve's are the oracle, which must not come near our packages.
    """
    folder = REPOSITORY / ".cache" / "oracle" / f"python{_PYTHON}" / "wptserve"
    folder.parent.mkdir(parents=True, exist_ok=True)
    complete = folder / "complete"
    with _locked(folder.with_name("wptserve.lock")):
        if not complete.exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps"]
            _run([*pip, "--target", str(folder), *_WPTSERVE])
            complete.touch()
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(home: Path) -> None:
    _run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
            "--dest", str(home), f"pywebsocket3=={VERSION}",
        ]
    )  # fmt: skip
    shutil.unpack_archive(home / f"pywebsocket3-{VERSION}.tar.gz", home)


def _make_venv(oracle: Oracle, home: Path) -> None:
    venv = home / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(venv)])
    # Copied from the source distribution, not built: no build backend is needed, whatever the Python.
    _run([str(oracle.python), "-m", "pip", "install", "--quiet", "six>=1.16"])
    packages = subprocess.run(
        [str(oracle.python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    shutil.copytree(oracle.source / "pywebsocket3", Path(packages) / "pywebsocket3")


def write(path: Path, text: str) -> None:
    """Writes a file and the folders above it, if it is not so already."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
