"""Starts the oracle and wshost on one handler tree, and stops them."""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from oracle import REPOSITORY, Oracle

HANDLERS = REPOSITORY / "tests" / "handlers"
START_SECONDS = 30.0
SELF = bool(os.environ.get("WSHOST_REFERENCE_SELF"))
"""Both sides are the oracle: proves that the scenarios themselves are deterministic."""


def wshost_binary() -> Path:
    """The server under test: `$WSHOST`, else the debug build of this checkout."""
    return Path(os.environ.get("WSHOST", REPOSITORY / "target" / "debug" / "wshost"))


@dataclass(frozen=True)
class Tree:
    """What a server is started on."""

    handlers: Path
    documents: Path
    options: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    wshost_options: tuple[str, ...] = ()
    """Options that the oracle does not have."""


class StartError(Exception):
    """The server ended, or was not ready in time; the text is what it wrote."""


@dataclass
class Server:
    """A running server."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    """Holds what it wrote: `stdout`, `stderr` and `log`."""
    journal: socket.socket
    """Datagrams of the fixtures' `journal.note` arrive here."""
    _stopped: bool = field(default=False, repr=False)

    def written(self) -> str:
        """Everything that the server wrote until now, its log included."""
        return "".join(
            (self.folder / name).read_text(errors="replace")
            for name in ("stdout", "stderr", "log")
            if (self.folder / name).exists()
        )

    def writes(self, pattern: str) -> bool:
        """Whether it writes something that matches, now or soon: its answers do not wait for its log."""
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(pattern, self.written(), re.MULTILINE)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found is not None

    def stop(self) -> None:
        """Ends the process and removes its files. May be called twice."""
        if self._stopped:
            return
        self._stopped = True
        self.process.kill()
        self.process.wait()
        self.journal.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_reference(oracle: Oracle, tree: Tree) -> Server:
    """Starts the oracle on `tree`."""
    return _start("reference", [str(oracle.python), "-u", str(oracle.runner), "{fd}"], [oracle.alias], tree)


def start_subject(oracle: Oracle, tree: Tree) -> Server:
    """Starts wshost on `tree` (the oracle again if `WSHOST_REFERENCE_SELF` is set)."""
    if SELF:
        return start_reference(oracle, tree)
    return _start("wshost", [str(wshost_binary()), "--ready-fd", "{fd}", *tree.wshost_options], [], tree)


def _start(name: str, command: list[str], python_path: list[Path], tree: Tree) -> Server:
    # Not pytest's folder: the path of a socket must be shorter than 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="ws-"))
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind(str(folder / "journal"))
    read_end, write_end = os.pipe()
    python_path = [*python_path, HANDLERS / "lib"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, python_path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "WSHOST_REFERENCE_JOURNAL": str(folder / "journal"),
        "WSHOST_REFERENCE_DOCUMENTS": str(tree.documents),
        **dict(tree.environment),
    }
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [part.format(fd=write_end) for part in command]
            + ["-p", "0", "-d", str(tree.documents), "-w", str(tree.handlers), "--log-level", "debug"]
            + ["-l", str(folder / "log"), *tree.options],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            pass_fds=[write_end],
        )
    os.close(write_end)
    server = Server(name, process, 0, folder, journal)
    try:
        server.port = _read_port(read_end)
    except StartError as error:
        process.kill()
        process.wait()
        text = f"{name} {error} (exit status {process.returncode}):\n{server.written()}"
        server.stop()
        raise StartError(text) from None
    finally:
        os.close(read_end)
    return server


def _read_port(ready: int) -> int:
    line = b""
    while b"\n" not in line:
        readable, _, _ = select.select([ready], [], [], START_SECONDS)
        if not readable:
            raise StartError(f"was not ready within {START_SECONDS:.0f} s")
        piece = os.read(ready, 4096)
        if not piece:
            break
        line += piece
    # The port stands on the first line.
    port = line.split(b"\n")[0]
    if not port.isdigit():
        raise StartError(f"did not become ready, it says {line!r}")
    return int(port)
