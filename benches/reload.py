"""Measures hot reload: `make bench-reload`.

One handler among 500 is rewritten again and again, in four ways, while 50 connections a second come in. A
latency is the time from the end of the write until a new connection has been answered by the new code. Ends
with 1 if a connection failed, an old version answered after a newer one, old versions stayed in memory, or it
took too long.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

HANDLERS = 500
WARM_UP = 100
MEDIAN_LIMIT_MS = 15.0
P99_LIMIT_MS = 40.0

# Each version of a rewritten handler holds this many bytes, so that those which are not given up show.
BALLAST = 100_000
# A version takes more than 50 blocks of Python's memory.
BLOCKS_LIMIT_PER_REWRITE = 1

HANDSHAKE = (
    "GET {} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

SOURCE = """
VERSION = {version}
HELD = "x" * {held}


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    request.ws_stream.send_message(str(VERSION))
"""

# Answers with what is in use once the garbage of earlier versions is collected. The size of the process
# depends on when Python looks for garbage, and on what the allocator keeps.
BLOCKS = """
import gc
import sys


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    gc.collect()
    request.ws_stream.send_message(str(sys.getallocatedblocks()))
"""


def handler(version: int, held: int = BALLAST) -> str:
    """A handler that answers with its version."""
    return SOURCE.format(version=version, held=held)


def ask(port: int, resource: str) -> int:
    """The number that a new connection is answered with. Raises `OSError` or `ValueError` if it is not."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(HANDSHAKE.format(resource).encode())
        data = b""
        while True:
            piece = client.recv(4096)
            data += piece
            head, end, frames = data.partition(b"\r\n\r\n")
            if end and len(frames) >= 2 and len(frames) >= 2 + frames[1]:
                if not head.startswith(b"HTTP/1.1 101") or frames[0] != 0x81:
                    raise ValueError(head.decode("latin-1").splitlines()[0])
                return int(frames[2 : 2 + frames[1]])
            if not piece:
                raise ValueError(f"closed after {data!r}")


def in_place(path: Path, source: str) -> None:
    """As editors that keep the file do it."""
    path.write_text(source)


def rename_over(path: Path, source: str) -> None:
    """As most editors and git do it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(source)
    fresh.replace(path)


def unlink_and_write(path: Path, source: str) -> None:
    """As some build systems do it."""
    path.unlink()
    path.write_text(source)


def symlink_switch(path: Path, source: str) -> None:
    """As deployments do it: another target for the same link."""
    target = path.parent / "targets" / f"{time.monotonic_ns()}.py"
    target.parent.mkdir(exist_ok=True)
    target.write_text(source)
    link = path.with_suffix(".link")
    link.symlink_to(target)
    old = path.resolve()
    link.replace(path)
    if old.parent == target.parent:
        old.unlink()


WAYS: list[Callable[[Path, str], None]] = [in_place, rename_over, unlink_and_write, symlink_switch]


class Load:
    """50 connections a second; each must be answered with what is known to be served, or something newer."""

    def __init__(self, port: int, served: dict[str, int]) -> None:
        self.port = port
        self.served = served
        self.made = 0
        self.failures: list[str] = []
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for resource in itertools.cycle(list(self.served)):
            if self._stop.wait(1 / 50):
                return
            at_least = self.served[resource]
            self.made += 1
            try:
                version = ask(self.port, resource)
            except (OSError, ValueError) as error:
                self.failures.append(f"{resource}: {error}")
                continue
            if version < at_least:
                self.wrong.append(f"{resource}: {version} after {at_least}")

    def stop(self) -> None:
        """Ends it."""
        self._stop.set()
        self._thread.join()


def memory(process: int) -> float:
    """Resident memory in MiB."""
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found.group(1)) / 1024 if found else 0.0


def start(program: list[str], root: Path, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A server on `root`, and its port."""
    read_end, write_end = os.pipe()
    options = ["-H", "127.0.0.1", "-p", "0", "-d", str(root), "-l", str(log), "--log-level", "info"]
    command = [*program, *options, "--log-max", "0", "--ready-fd", str(write_end)]
    server = subprocess.Popen(command, pass_fds=[write_end])
    os.close(write_end)
    with os.fdopen(read_end) as ready:
        lines = ready.read().splitlines()
    if not lines:
        sys.exit(f"error: the server did not start; {log} says why")
    return server, int(lines[0])


def measure(port: int, root: Path, process: int, rewrites: int) -> bool:
    """Rewrites, measures and prints. Whether all was right."""
    served = {f"/{way.__name__}": 0 for way in WAYS}
    load = Load(port, served)
    latencies: dict[str, list[float]] = {way.__name__: [] for way in WAYS}
    before, blocks_before = 0.0, 0
    for version in range(1, rewrites + 1):
        way = WAYS[version % len(WAYS)]
        resource = f"/{way.__name__}"
        way(root / f"{way.__name__}_wsh.py", handler(version))
        written = time.perf_counter()
        while True:
            try:
                answer = ask(port, resource)
            except (OSError, ValueError) as error:
                load.failures.append(f"{resource}: {error}")
                continue
            if answer == version:
                break
            if time.perf_counter() - written > 10:
                load.wrong.append(f"{resource}: {answer} 10 s after {version} was written")
                break
        latencies[way.__name__].append(1000 * (time.perf_counter() - written))
        served[resource] = version
        if version == min(WARM_UP, rewrites):
            before, blocks_before = memory(process), ask(port, "/blocks")
        time.sleep(0.01)
    load.stop()
    print(f"{'':>18} {'median':>8} {'p99':>8} {'max':>8}  ms from the end of the write to the answer")
    everything = [latency for each in latencies.values() for latency in each]
    for name, each in [*latencies.items(), ("all", everything)]:
        each.sort()
        p99 = each[int(0.99 * (len(each) - 1))]
        print(f"{name:>18} {statistics.median(each):8.1f} {p99:8.1f} {each[-1]:8.1f}")
    print(f"connections        {load.made} beside the measuring ones")
    print(f"failed             {len(load.failures)} {load.failures[:3] or ''}")
    print(f"wrong versions     {len(load.wrong)} {load.wrong[:3] or ''}")
    after, blocks_after = memory(process), ask(port, "/blocks")
    print(f"memory             {before:.1f} MiB after {WARM_UP} rewrites, {after:.1f} MiB at the end")
    print(f"blocks of Python   {blocks_before} after {WARM_UP} rewrites, {blocks_after} at the end")
    grew = blocks_after - blocks_before > rewrites * BLOCKS_LIMIT_PER_REWRITE
    if grew:
        print("old versions       stay in memory")
    everything.sort()
    fast = statistics.median(everything) <= MEDIAN_LIMIT_MS
    fast = fast and everything[int(0.99 * (len(everything) - 1))] <= P99_LIMIT_MS
    if not fast:
        print(f"slower than        median {MEDIAN_LIMIT_MS} ms, p99 {P99_LIMIT_MS} ms")
    return fast and not load.failures and not load.wrong and not grew


def main() -> int:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rewrites", type=int, default=1000)
    parser.add_argument("program", nargs="+", help="the command that starts wshost")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "handlers"
        log = Path(place) / "log"
        root.mkdir()
        for number in range(HANDLERS - len(WAYS) - 1):
            folder = root / f"d{number % 25}"
            folder.mkdir(exist_ok=True)
            (folder / f"h{number}_wsh.py").write_text(handler(number, 0))
        for way in WAYS:
            (root / f"{way.__name__}_wsh.py").write_text(handler(0))
        (root / "blocks_wsh.py").write_text(BLOCKS)
        server, port = start(arguments.program, root, log)
        try:
            right = measure(port, root, server.pid, arguments.rewrites)
        finally:
            server.terminate()
            server.wait(30)
        print(f"loads              {log.read_text().count('Reloaded in')} for {arguments.rewrites} rewrites")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
