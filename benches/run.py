"""Measures wshost beside other servers: `make bench`, or `make bench QUICK=1`.

Prints a table of ratios and writes `docs/benchmarks.md`. Each server does the same work in turn, in several
rounds; a ratio is the median of the rounds' ratios. Exit code 1: a server crashed, or an echo was wrong.
A figure that is not reached is no failure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import peers
import report
from work import ALL, WORK, Work

LOAD_SECONDS = 240
"""How long the load generator may take for one measurement."""

HANDLERS = 100
"""Handler files of the row that measures the start."""


class Bench:
    """One run."""

    def __init__(self, options: argparse.Namespace, programs: dict[str, str], folder: Path) -> None:
        """Prepares what servers need in `folder`."""
        self.options = options
        self.load = programs["load"]
        self.peers = peers.Peers(programs)
        self.certificate = folder / "certificate.pem"
        subprocess.run(
            [self.load, "certificate", str(self.certificate)], stdout=subprocess.DEVNULL, check=True
        )
        self.handlers = folder / "handlers"
        self.handlers.mkdir()
        for name in ("echo_wsh.py", "broadcast_wsh.py"):
            shutil.copy(peers.SERVERS / name, self.handlers)
        self.many_handlers = folder / "many"
        self.many_handlers.mkdir()
        for number in range(HANDLERS):
            shutil.copy(peers.SERVERS / "echo_wsh.py", self.many_handlers / f"echo{number}_wsh.py")

    def names(self, work: Work) -> list[str]:
        """The servers of this work that are wanted."""
        return [name for name in work.peers if name in self.options.peers]

    def run(self, work: Work) -> dict[str, list[dict[str, float]]]:
        """The figures of each server, round by round."""
        names = self.names(work)
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        with contextlib.ExitStack() as stack:
            servers = (
                {} if work.fresh else {name: stack.enter_context(self.start(name, work)) for name in names}
            )
            for _ in range(1 if work.once else self.options.rounds):
                for name in names:
                    begin = time.perf_counter()
                    if work.fresh:
                        with self.start(name, work) as server:
                            seen = self.measure(work, server)
                    else:
                        seen = self.measure(work, servers[name])
                    figures[name].append(seen)
                    text = ", ".join(f"{key} {value:.4g}" for key, value in seen.items())
                    print(
                        f"{work.name:10} {name:13} {time.perf_counter() - begin:5.1f} s  {text}", flush=True
                    )
        return figures

    def start(self, name: str, work: Work) -> peers.Server:
        """A server for this work."""
        handlers = self.many_handlers if work.name == "start" else self.handlers
        return self.peers.start(name, handlers, self.certificate if work.tls else None)

    def measure(self, work: Work, server: peers.Server) -> dict[str, float]:
        """One measurement."""
        if not work.load:
            return {"start_ms": server.start_ms}
        command = [self.load, *work.load, "--port", str(server.port), "--pid", str(server.process.pid)]
        connections = min(work.connections, self.options.most_connections)
        if connections:
            command += ["--connections", str(connections)]
        if work.name != "idle":
            command += ["--seconds", str(self.options.seconds), "--warm-up", str(self.options.seconds / 5)]
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=LOAD_SECONDS, check=False, text=True)
        if server.crashed():
            raise SystemExit(f"error: {server.name} crashed at {work.title}")
        if done.returncode:
            raise SystemExit(f"error: {server.name} at {work.title}: {' '.join(command)} failed")
        seen: dict[str, Any] = json.loads(done.stdout)
        # Without a single message in the measured time there is nothing to divide by.
        return {key: float(value or 0) for key, value in seen.items()}


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round with fewer connections; writes no page"
    )
    parser.add_argument(
        "--debug", action="store_true", help="measure debug builds: for tests of the benchmark itself"
    )
    parser.add_argument("--rounds", type=int, help="rounds (default 5, with --quick 1)")
    parser.add_argument(
        "--seconds", type=float, help="seconds of a measurement (default 1, with --quick 0.3)"
    )
    parser.add_argument("--peers", default=",".join(ALL), help=f"servers, of {','.join(ALL)}")
    parser.add_argument("--keep", type=Path, help="a file of earlier rows to go on from; written, too")
    names = ",".join(work.name for work in WORK)
    parser.add_argument("--work", default=names, help=f"rows, of {names}")
    options = parser.parse_args(arguments)
    options.most_connections = 200 if options.quick else 10000
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.3 if options.quick else 1.0)
    options.work, options.peers = options.work.split(","), options.peers.split(",")
    if unknown := {*options.work} - {*names.split(",")} | {*options.peers} - {*ALL}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    """Runs all of it."""
    options = parse(sys.argv[1:])
    peers.raise_file_limit()
    programs = peers.build(release=not options.debug)
    peers.make_venv()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, programs, Path(folder))
        results: report.Results = {}
        if options.keep and options.keep.exists():
            results = json.loads(options.keep.read_text())
        for work in WORK:
            if work.name in options.work:
                results[work.name] = bench.run(work)
                if options.keep:
                    options.keep.write_text(json.dumps(results))
    print()
    print(report.ratios(results))
    whole = not options.quick and not options.debug and len(results) == len(WORK)
    if whole and set(options.peers) == set(ALL):
        page = peers.REPOSITORY / "docs" / "benchmarks.md"
        page.write_text(report.page(results, options.rounds, options.seconds))
        print(f"\nwrote {page.relative_to(peers.REPOSITORY)}")


if __name__ == "__main__":
    main()
