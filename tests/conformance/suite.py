"""The Autobahn test suite: its client, built from PyPI in `.cache/autobahn`, and what it reports.

The client, `wstest`, is a program for CPython 2.7. `$PYTHON27` names one; otherwise it is looked for in
`PATH` and among pyenv's versions.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1] / ".cache" / "autobahn"
CONSTRAINTS = HERE / "constraints.txt"

SUITE = "autobahntestsuite==25.10.1"
VIRTUALENV = "virtualenv==20.21.1"
"""The last one that makes environments for CPython 2.7."""

LARGE = [
    *("9.1.2", "9.1.3", "9.1.4", "9.1.5", "9.1.6", "9.2.2", "9.2.3", "9.2.4", "9.2.5", "9.2.6"),
    *("9.3.*", "9.4.*", "9.5.1", "9.5.2", "9.5.3", "9.6.1", "9.6.2", "9.6.3", "9.7.*", "9.8.*"),
    *("12.*.1", *(f"12.*.{case}" for case in range(3, 19))),
    *("13.*.1", *(f"13.*.{case}" for case in range(3, 19))),
]
"""Cases that take long: messages of more than 64 KiB, many pieces, and compressed ones but for one size."""

BEHAVIOURS = ["OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED"]

Results = dict[str, tuple[str, str]]
"""Behaviour, and behaviour when closing, by the number of the case."""


def python27() -> str | None:
    """A CPython 2.7 with TLS and zlib."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [os.environ.get("PYTHON27"), shutil.which("python2.7")]
    found += [str(path) for path in sorted(pyenv.glob("2.7*/bin/python2.7"))]
    for python in filter(None, found):
        check = [python, "-c", "import ssl, zlib"]
        if subprocess.run(check, capture_output=True, check=False).returncode == 0:
            return python
    return None


def wstest(python: str) -> Path:
    """The suite's client for this CPython 2.7; built when it is not there yet."""
    program = HOME / "python27" / "bin" / "wstest"
    ready = HOME / "ready"
    wanted = CONSTRAINTS.read_text(encoding="utf-8")
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME.with_name("autobahn.lock"), "w") as lock:
        # Tests that run side by side share the client: the first builds it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (program.exists() and ready.exists() and ready.read_text(encoding="utf-8") == wanted):
            _build(python)
            ready.write_text(wanted, encoding="utf-8")
    return program


def _build(python: str) -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    boot = HOME / "boot"
    _run(sys.executable, "-m", "venv", str(boot))
    _run(str(boot / "bin" / "pip"), "install", "--quiet", VIRTUALENV)
    make = str(boot / "bin" / "virtualenv")
    _run(make, "--quiet", "--no-periodic-update", "--python", python, str(HOME / "python27"))
    pip = str(HOME / "python27" / "bin" / "pip")
    _run(pip, "install", "--quiet", "--constraint", str(CONSTRAINTS), SUITE)


def _environment() -> dict[str, str]:
    """Ours, without what is meant for our Python."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return ours | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def _run(*command: str) -> None:
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"


def run(client: Path, url: str, folder: Path, cases: list[str], excluded: list[str], limit: float) -> Results:
    """Runs the cases against the echo server at `url`, for `limit` seconds at most.

    The reports and the client's log are written to `folder`.
    """
    specification = {
        "outdir": str(folder),
        "servers": [{"agent": "wshost", "url": url}],
        "cases": cases,
        "exclude-cases": excluded,
        "exclude-agent-cases": {},
    }
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / "specification.json"
    path.write_text(json.dumps(specification), encoding="utf-8")
    with open(folder / "wstest.log", "wb") as log:
        command = [str(client), "-m", "fuzzingclient", "-s", str(path)]
        subprocess.run(
            command,
            env=_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
            cwd=folder,
            timeout=limit,
        )
    said = (folder / "wstest.log").read_text(encoding="utf-8", errors="replace")
    announced = re.search(r"will run (\d+) test cases", said)
    reports = json.loads((folder / "index.json").read_text(encoding="utf-8")).get("wshost", {})
    assert announced, f"the client ran nothing:\n{said}"
    assert len(reports) == int(announced[1]), f"{len(reports)} of {announced[1]} cases were reported"
    return {case: (report["behavior"], report["behaviorClose"]) for case, report in reports.items()}


def _number(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]


def exceptions(results: Results) -> list[str]:
    """The cases that are not OK, as in `expected.txt`."""
    others = [case for case, ending in results.items() if ending != ("OK", "OK")]
    return [f"{case:<7} {results[case][0]:<14} {results[case][1]}" for case in sorted(others, key=_number)]


def expected() -> Results:
    """What `expected.txt` says."""
    lines = (HERE / "expected.txt").read_text(encoding="utf-8").splitlines()
    rows = (line.split(maxsplit=2) for line in lines if not line.startswith("#"))
    return {case: (behaviour, closing) for case, behaviour, closing in rows}


def table(results: Results) -> str:
    """How many cases of each group end how."""
    groups = sorted({_number(case)[0] for case in results})
    lines = [" ".join(["group", "cases", *(f"{name:>13}" for name in BEHAVIOURS), "  wrong code", "unclean"])]
    for group in [*groups, None]:
        chosen = [ending for case, ending in results.items() if group in (None, _number(case)[0])]
        behaviours = Counter(behaviour for behaviour, _ in chosen)
        closings = Counter(closing for _, closing in chosen)
        cells = [f"{'all' if group is None else f'{group}.*':<5}", f"{len(chosen):>5}"]
        cells += [f"{behaviours[name]:>13}" for name in BEHAVIOURS]
        cells += [f"{closings['WRONG CODE']:>12}", f"{closings['UNCLEAN'] + closings['FAILED']:>7}"]
        lines.append(" ".join(cells))
    return "\n".join(lines)
