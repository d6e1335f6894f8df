"""The servers that are measured: how each is built, started and ended."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

BENCHES = Path(__file__).resolve().parent
REPOSITORY = BENCHES.parent
SERVERS = BENCHES / "servers"
CACHE = REPOSITORY / ".cache" / "bench"
VENV_PYTHON = CACHE / "venv" / "bin" / "python"

START_SECONDS = 60.0
"""How long a server gets to accept its first connection."""


def build(release: bool) -> dict[str, str]:
    """Builds wshost, the load generator and the echo server in Rust; the path of each by its name."""
    command = [
        "cargo", "build", "--locked", "--message-format=json-render-diagnostics",
        "--bin", "wshost", "--bench", "load", "--bench", "tungstenite_echo",
    ]  # fmt: skip
    if release:
        command.append("--release")
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        raise SystemExit("error: cargo could not build the benchmark; the lines above say why")
    artifacts = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        artifact["target"]["name"]: artifact["executable"]
        for artifact in artifacts
        if artifact["reason"] == "compiler-artifact" and artifact["executable"]
    }


def make_venv() -> None:
    """Installs the servers in Python into `.cache/bench/venv`, once for each state of `requirements.txt`."""
    requirements = BENCHES / "requirements.txt"
    complete = CACHE / "complete"
    wanted = f"{sys.version}\n{requirements.read_text()}"
    if complete.exists() and complete.read_text() == wanted:
        return
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir(parents=True)
    pip = [str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", str(CACHE / "venv")], [*pip, "-r", str(requirements)]):
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"error: {' '.join(command)} failed; the lines above say why")
    complete.write_text(wanted)


@dataclass(frozen=True)
class Start:
    """What a server is started with."""

    port: int
    handlers: Path
    certificate: Path | None


@dataclass
class Peers:
    """The servers by name, in the order in which they take turns."""

    programs: dict[str, str]
    """Paths of what was built."""
    commands: dict[str, Callable[[Start], list[str]]] = field(init=False)

    def __post_init__(self) -> None:
        """Knows how to start each."""
        self.commands = {
            "wshost": self._wshost,
            "tungstenite": self._tungstenite,
            "pywebsocket3": lambda start: _python("pywebsocket3_echo.py", start.port, start.handlers),
            "websockets": lambda start: _python("websockets_echo.py", start.port),
            "picows": lambda start: _python("picows_echo.py", start.port),
            "granian": _granian,
        }

    def _wshost(self, start: Start) -> list[str]:
        command = [self.programs["wshost"], "-H", "127.0.0.1", "-p", str(start.port)]
        command += ["-d", str(start.handlers), "--log-level", "error"]
        if start.certificate:
            command += ["--tls", "-c", str(start.certificate), "-k", str(start.certificate)]
        return command

    def _tungstenite(self, start: Start) -> list[str]:
        certificate = [str(start.certificate)] if start.certificate else []
        return [self.programs["tungstenite_echo"], str(start.port), *certificate]

    def start(self, name: str, handlers: Path, certificate: Path | None = None) -> Server:
        """Starts a server and waits until it accepts a connection."""
        start = Start(_free_port(), handlers, certificate)
        return Server(name, self.commands[name](start), start.port)


def _python(script: str, *arguments: object) -> list[str]:
    return [str(VENV_PYTHON), str(SERVERS / script), *map(str, arguments)]


def _granian(start: Start) -> list[str]:
    return [
        str(VENV_PYTHON), "-m", "granian", "--interface", "rsgi", "--host", "127.0.0.1",
        "--port", str(start.port), "--no-log", "--working-dir", str(SERVERS), "granian_echo:app",
    ]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server. `with` ends it."""

    def __init__(self, name: str, command: list[str], port: int) -> None:
        """Starts it, and notes how long it takes to the first accepted connection."""
        self.name = name
        self.port = port
        begin = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while not self._accepts():
            if self.process.poll() is not None:
                raise SystemExit(f"error: {name} ended with {self.process.returncode}: {' '.join(command)}")
            if time.perf_counter() - begin > START_SECONDS:
                self.end()
                raise SystemExit(f"error: {name} does not accept connections: {' '.join(command)}")
            time.sleep(0.001)
        self.start_ms = (time.perf_counter() - begin) * 1000

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def crashed(self) -> bool:
        """Whether it has ended by itself."""
        return self.process.poll() is not None

    def end(self) -> None:
        """Ends it and its children."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Server:
        """Does nothing: the server runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the server."""
        self.end()


def environment_versions() -> dict[str, str]:
    """The versions of what is compared, by name."""
    listed = subprocess.run(
        [str(VENV_PYTHON), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
        stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    versions = {package["name"]: package["version"] for package in json.loads(listed.stdout)}
    lock = (REPOSITORY / "Cargo.lock").read_text()
    for crate in ("wshost", "tokio-tungstenite", "tokio", "rustls"):
        versions[crate] = lock.split(f'name = "{crate}"\nversion = "', 1)[1].split('"', 1)[0]
    return versions


def raise_file_limit() -> int:
    """Allows as many open files as the system lets us; servers inherit it. Returns the limit."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return os.sysconf("SC_OPEN_MAX")
