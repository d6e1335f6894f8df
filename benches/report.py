"""The tables, and the page `docs/benchmarks.md`."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from statistics import median

import peers
from work import ALL, WORK, Limit, Work

Results = dict[str, dict[str, list[dict[str, float]]]]
"""Figures by work, server and round."""

FIGURES = {
    "cpu_us": "CPU per message, µs",
    "p50_us": "p50 latency, µs",
    "p99_us": "p99 latency, µs",
    "messages_per_s": "messages/s",
    "mb_per_s": "MB/s",
    "connections_per_s": "connections/s",
    "kib_each": "memory each, KiB",
    "start_ms": "time to accept, ms",
}

NOTES = Path(__file__).resolve().parent / "notes.md"


def _ratio(results: Results, work: Work, limit: Limit) -> tuple[float, float, float] | None:
    """Medians of our figure and the other one, and of their ratio; `None` when one was not measured."""
    figures = results.get(work.name, {})
    ours = [seen[limit.figure] for seen in figures.get("wshost", [])]
    if limit.peer == "1 KiB":
        others = [1.0] * len(ours)
    elif limit.peer == "wshost's p50_us":
        others = [seen["p50_us"] for seen in figures.get("wshost", [])]
    elif limit.peer.startswith("wshost at "):
        others = [seen[limit.figure] for seen in results.get(limit.peer.split()[-1], {}).get("wshost", [])]
    else:
        others = [seen[limit.figure] for seen in figures.get(limit.peer, [])]
    ratios = [mine / other for mine, other in zip(ours, others) if mine and other]
    if not ratios:
        return None
    return median(ours), median(others), median(ratios)


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ratios(results: Results) -> str:
    """Every figure that has something to reach."""
    lines = [
        "| work | figure | wshost | against | it has | ratio | wanted | |",
        "| --- | --- | --: | --- | --: | --: | --: | --- |",
    ]
    for work in WORK:
        for limit in work.limits:
            measured = _ratio(results, work, limit)
            if measured is None:
                continue
            ours, other, ratio = measured
            verdict = "reached" if limit.reached(ratio) else "**not reached**"
            lines.append(
                f"| {work.title} | {FIGURES[limit.figure]} | {_number(ours)} | {limit.peer} "
                f"| {_number(other)} | {ratio:.2f} | {limit.wanted()} | {verdict} |"
            )
    return "\n".join(lines)


def _absolute(results: Results) -> str:
    """The medians of all that was seen."""
    columns = ["messages_per_s", "mb_per_s", "connections_per_s", "cpu_us", "p50_us", "p99_us"]
    columns += ["kib_each", "resident_mib", "start_ms"]
    titles = [FIGURES.get(column, "resident, MiB") for column in columns]
    lines = [f"| work | server | {' | '.join(titles)} |", f"| --- | --- |{' --: |' * len(columns)}"]
    for work in WORK:
        for name in ALL:
            rounds = results[work.name].get(name)
            if not rounds:
                continue
            cells = [
                _number(median(seen[column] for seen in rounds)) if column in rounds[0] else ""
                for column in columns
            ]
            lines.append(f"| {work.title} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _load(results: Results) -> str:
    """Whether the load generator was in the way."""
    rounds = results["in-flight"]["tungstenite"]
    server, load = (median(seen[key] for seen in rounds) for key in ("server_cores", "load_cores"))
    return (
        "The load generator is not the bottleneck for small messages: with 10 in flight it kept "
        f"tokio-tungstenite's server busy on {server:.2f} cores and needed {load:.2f} itself."
    )


def _machine() -> str:
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = next(
        (int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0
    )
    return f"{model}, {os.cpu_count()} cores, {memory / 2**20:.0f} GiB, Linux {platform.release()}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def page(results: Results, rounds: int, seconds: float) -> str:
    """The whole page."""
    versions = peers.environment_versions()
    rust = subprocess.run(
        ["rustc", "--version"], stdout=subprocess.PIPE, check=True, text=True
    ).stdout.split()[1]
    names = ("wshost", "tokio-tungstenite", "tokio", "rustls", *sorted(ALL[2:]), "uvloop")
    listed = ", ".join(f"{name} {versions[name]}" for name in names)
    today = datetime.date.today().isoformat()
    return f"""\
# Benchmarks

Written by `make bench`; the text below the tables is `benches/notes.md`. Absolute values depend on the
machine and on who else uses it, so each figure that matters is a ratio to a server that did the same work
in the same round: {rounds} rounds of {seconds:g} s, all servers in turn, the median of the rounds' ratios
(memory of idle connections: one round).

- Date: {today}
- Machine: {_machine()}
- Versions: {listed}; CPython {platform.python_version()}, Rust {rust}

## Ratios

{ratios(results)}

CPU is the server process's user and system time, its children included. `wshost` and `pywebsocket3` run the
same handler file; the others are the echo server that their documentation shows. {_load(results)}

## Medians

{_absolute(results)}

{NOTES.read_text()}"""
