"""Each option in each spelling, and as a line of a configuration file, means what it means to the oracle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deviations import deviates
from oracle import Oracle

_native = pytest.importorskip("wshost._native", reason="needs the wheel: make test-python")

Outcome = dict[str, Any]

# Runs the oracle's option parser on each argument list of a JSON list.
_RUNNER = """\
import contextlib, io, json, logging, sys

from pywebsocket3 import standalone

logging.disable(logging.CRITICAL)
outcomes = []
for args in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            outcomes.append(vars(standalone._parse_args_and_config(args)[0]))
        except SystemExit as exit:
            outcomes.append({"exit": exit.code})
        except Exception as error:
            outcomes.append({"raises": repr(error)})
json.dump(outcomes, sys.stdout)
"""

# Long name, short letter, and values; without values it is a flag.
OPTIONS: list[tuple[str, str, list[str]]] = [
    ("config", "", []),
    ("server-host", "H", ["localhost", "", "::1"]),
    ("validation-host", "V", ["example.com", ""]),
    ("port", "p", ["8080", "0", " 81 ", "+82", "8_3", "x", "", "1.5", "_1"]),
    ("validation-port", "P", ["8080", "x"]),
    ("websock-handlers", "w", ["handlers", "a b", "", "."]),
    ("websock-handlers-map-file", "m", ["map.txt", ""]),
    ("scan-dir", "s", ["handlers/sub", ""]),
    ("allow-handlers-outside-root-dir", "", []),
    ("document-root", "d", ["htdocs", "/", ""]),
    ("cgi-paths", "x", ["/cgi,/htbin", ""]),
    ("tls", "t", []),
    ("private-key", "k", ["key.pem", ""]),
    ("certificate", "c", ["cert.pem", ""]),
    ("tls-client-auth", "", []),
    ("tls-client-cert-optional", "", []),
    ("tls-client-ca", "", ["ca.pem"]),
    ("basic-auth", "", []),
    ("basic-auth-credential", "", ["me:secret", "", "a:b=c"]),
    ("log-file", "l", ["ws.log", "", "=x"]),
    ("log-level", "", ["fine", "debug", "info", "warning", "warn", "error", "critical", "WARN", "", "10"]),
    ("deflate-log-level", "", ["fine", "debug", "info", "warning", "warn", "error", "critical"]),
    ("thread-monitor-interval-in-sec", "", ["60", "0", "-1", "x"]),
    ("log-max", "", ["1000", "0", "-1", "1k"]),
    ("log-count", "", ["3", "0", "-5", "x"]),
    ("queue", "q", ["7", "0", "-1", "x"]),
    ("handler-encoding", "", ["utf-8", ""]),
]
FLAGS = {long for long, _, values in OPTIONS if not values} - {"config"}
# The oracle has these with dashes only.
DASHES_ONLY = {
    "tls-client-auth", "tls-client-cert-optional", "tls-client-ca", "basic-auth", "basic-auth-credential",
}  # fmt: skip
NAMES = {
    long: [long] + [long.replace("-", "_")] * ("-" in long and long not in DASHES_ONLY)
    for long, *_ in OPTIONS
}


def outcomes(oracle: Oracle, cases: list[list[str]], folder: Path) -> list[tuple[Outcome, Outcome]]:
    """What the oracle and we make of each argument list, both in `folder`."""
    theirs = subprocess.run(
        [str(oracle.python), "-I", "-W", "ignore", "-c", _RUNNER],
        input=json.dumps(cases), cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return list(zip(json.loads(theirs.stdout), [ours(case) for case in cases]))


def ours(args: list[str]) -> Outcome:
    """What we make of an argument list."""
    try:
        options: Outcome = _native.parse_options(args)
        return options
    except SystemExit as exit:
        return {"exit": exit.code}


def compare(oracle: Oracle, cases: list[list[str]], folder: Path) -> None:
    """Both make the same of each."""
    different = [
        (case, theirs, mine)
        for case, (theirs, mine) in zip(cases, outcomes(oracle, cases, folder))
        if theirs != mine
    ]
    assert not different, "\n".join(
        f"{case}: the oracle {shown(theirs, mine)}, we {shown(mine, theirs)}"
        for case, theirs, mine in different
    )


def shown(outcome: Outcome, other: Outcome) -> Outcome:
    """Only what differs."""
    return {name: value for name, value in outcome.items() if other.get(name, other) != value}


def spellings(long: str, short: str, value: str | None) -> list[list[str]]:
    """Every way to type an option that is not cut short."""
    if value is None:
        typed = [[f"--{name}"] for name in NAMES[long]] + [
            [f"--{long}=x"],
            [f"--{long}="],
            [f"--{long}", "x"],
        ]
        return typed[:-1] + ([[f"-{short}"], [f"-{short}", f"-{short}"]] if short else [])
    typed = [form for name in NAMES[long] for form in ([f"--{name}", value], [f"--{name}={value}"])]
    if short:
        typed += [[f"-{short}", value], [f"-{short}={value}"]] + [[f"-{short}{value}"]] * bool(value)
    return [*typed, [*typed[0], *typed[-1]]]


def test_every_spelling_means_the_same(oracle: Oracle, tmp_path: Path) -> None:
    cases = [
        [],
        ["-t", "-p", "1"],
        ["-tp1"],
        ["-tk", "key.pem"],
        ["-p"],
        ["--log-level"],
        ["-l", "--port", "1"],
    ]
    cases += [
        ["-p", "1", "-p", "2"],
        ["-l", "a", "--log_file=b"],
        ["--tls", "-t"],
        ["--help"],
        ["-h"],
        ["-p1", "-h"],
    ]
    for long, short, values in OPTIONS:
        if long != "config":
            for value in values or [None]:
                cases += spellings(long, short, value)
    assert len(cases) > 200
    compare(oracle, cases, tmp_path)


def test_all_names_of_the_oracle_are_compared(oracle: Oracle, tmp_path: Path) -> None:
    [(theirs, mine)] = outcomes(oracle, [[]], tmp_path)
    assert theirs == mine
    assert len(theirs) == len(OPTIONS)
    assert list(theirs) == list(mine)


def test_beginnings_of_names(oracle: Oracle, tmp_path: Path) -> None:
    deviates("short-names")
    known = [(name, long) for long, *_ in OPTIONS for name in NAMES[long]] + [("help", "help")]
    samples = {long: values[:1] for long, _, values in OPTIONS}
    cases = []
    for long, *_ in OPTIONS:
        for name in NAMES[long]:
            # The file of options has its own tests.
            beginnings = {name[:end] for end in range(1, len(name))} - {name for name, _ in known}
            cases += [[f"--{beginning}", *samples[long]] for beginning in beginnings if long != "config"]
    for case, (theirs, mine) in zip(cases, outcomes(oracle, cases, tmp_path)):
        beginning = case[0][2:]
        meant = {long for name, long in known if name.startswith(beginning)}
        if theirs != {"exit": 2} or len(meant) > 1:
            assert theirs == mine, case
        else:
            assert mine == ours([f"--{meant.pop()}", *case[1:]]), case


@pytest.mark.parametrize("args", [["--prot", "1"], ["handlers"], ["-Z"]])
def test_what_is_no_option(args: list[str], oracle: Oracle, tmp_path: Path) -> None:
    deviates("wrong-usage")
    assert outcomes(oracle, [args], tmp_path) == [({"exit": 1}, {"exit": 2})]


@pytest.mark.parametrize("args", [["-p", "99999"], ["-p", "-1"], ["-P", "99999"], ["-P=-1"]])
def test_ports_that_cannot_be(args: list[str], oracle: Oracle, tmp_path: Path) -> None:
    deviates("port-range")
    [(theirs, mine)] = outcomes(oracle, [args], tmp_path)
    assert "exit" not in theirs
    assert mine == {"exit": 2}


needs_config = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="the oracle cannot read a configuration file on Python 3.12 and newer"
)


def compare_files(
    oracle: Oracle, files: list[tuple[str, list[str]]], folder: Path
) -> list[tuple[Outcome, Outcome]]:
    """What both make of each file, named in front of what is typed."""
    cases = []
    for number, (text, typed) in enumerate(files):
        path = folder / f"{number}.ini"
        path.write_bytes(text.encode())
        cases.append(["--config", str(path), *typed])
    return outcomes(oracle, cases, folder)


@needs_config
def test_every_option_in_a_file(oracle: Oracle, tmp_path: Path) -> None:
    files: list[tuple[str, list[str]]] = []
    for long, _, values in OPTIONS:
        for name in NAMES[long]:
            for value in values or ["True", "False", "0", ""]:
                if long == "config":
                    continue
                for form in [f"{name}={value}", f"{name} : {value}", f"{name.upper()} = {value}"]:
                    files.append((f"[pywebsocket]\n{form}\n", []))
            if values:
                files.append((f"[pywebsocket]\n{name} = {values[0]}\n", [f"--{long}", values[-1]]))
                files.append((f"[pywebsocket]\n{name} = {values[0]}\n", [f"--{long}={values[0]}"]))
    files.append(("[pywebsocket]\nlog-level=info\nlog_level=debug\n", []))
    files.append(("[pywebsocket]\nlog_level=info\nlog-level=debug\n", ["-p", "1"]))
    files.append(("[pywebsocket]\nlog-l=info\ndocument-r=x\n", []))
    assert len(files) > 200
    for (text, typed), (theirs, mine) in zip(files, compare_files(oracle, files, tmp_path)):
        assert theirs == mine, (text, typed)


INI = [
    "{s}log_file=1\nport=2\n",
    "{s}log_file=1 # no comment\n",
    "{s}log_file=1 ; no comment\n",
    "{s}# c\n; d\nlog_file=1\n",
    "{s}log_file=x\n  y\n",
    "{s}log_file=x\n\n  y\n",
    "{s}log_file=x\n  # c\n  y\n",
    "{s}log_file=\n  y\n",
    "{s}log_file=%%x\n",
    "{s}document_root=v\nlog_file=%(document_root)s/x\n",
    "{s}log_file=%x\n",
    "{s}log_file=%(nope)s\n",
    "{s}log_file=%(log_file)s\n",
    "{s}log_file=%(b\n",
    "{s}log_file=100%\n",
    "{s}log_file=1\nlog_file=2\n",
    "{s}log_file=1\nLog_File=2\n",
    "{s}log_file=1\n{s}port=2\n",
    "[DEFAULT]\nlog_file=1\n{s}port=2\n",
    "[DEFAULT]\nport=1\n{s}port=2\n",
    "[DEFAULT]\nport=1\n[DEFAULT]\nqueue=2\n{s}",
    "[other]\nport=1\n",
    "port=1\n{s}",
    "",
    "{s}port\n",
    "{s}=1\n",
    "{s}log_file = b = c\n",
    "{s}log_file: b = c\n",
    '{s}log_file="q"\n',
    "[ pywebsocket ]\nport=1\n",
    "[pywebsocket] x\nport=1\n",
    "{s}port=1\r\nqueue=2\r\n",
    "{s}port=1\rqueue=2\r",
    "{s}port=1\n[other]\nqueue=2\n",
    "{s}log_file=1\n [other]\nqueue=2\n",
    "{s} log_file=1\n  port=2\nqueue=3\n",
    "{s}log_file=x\n\n\n",
    "{s}log_file=x\n\n\nport=1\n",
    "{s}bad\nport=1\n",
    "[PyWebSocket]\nport=1\n",
    "{s}log_file=é\n",
    "{s}[]\nport=1\n",
    "{s}port\n = 80\n",
    "{s}log_file=%()s\n",
    "{s}port=%(queue)s\nqueue=%(log_max)s\nlog_max=7\n",
    "{s}thread_monitor_interval_in_sec=-1\n",
    "{s}port=x\n",
    "{s}log_level=loud\n",
    "{s}config=other.ini\n",
]


@needs_config
def test_files_are_read_as_python_reads_them(oracle: Oracle, tmp_path: Path) -> None:
    """What raises there is one line and the exit code 1 here."""
    files: list[tuple[str, list[str]]] = [(text.replace("{s}", "[pywebsocket]\n"), []) for text in INI]
    raised = 0
    for (text, _), (theirs, mine) in zip(files, compare_files(oracle, files, tmp_path)):
        if "raises" in theirs:
            raised += 1
            assert mine == {"exit": 1}, text
        else:
            assert theirs == mine, text
    assert raised >= 10


def test_a_file_that_is_not_there(oracle: Oracle, tmp_path: Path) -> None:
    compare(oracle, [["--config", str(tmp_path / "gone.ini")], ["--config="], ["--config"]], tmp_path)


@needs_config
@pytest.mark.parametrize(("line", "exit"), [("prot = 1", None), ("help = 1", 0), ("h = 1", 2)])
def test_what_is_no_option_in_a_file(line: str, exit: int | None, oracle: Oracle, tmp_path: Path) -> None:
    deviates("config-names")
    [(theirs, mine)] = compare_files(oracle, [(f"[pywebsocket]\n{line}\n", [])], tmp_path)
    assert theirs.get("exit") == exit
    assert mine == {"exit": 2}


def test_client_certificates_without_a_ca(oracle: Oracle, tmp_path: Path) -> None:
    """Both parsers take it; the start refuses it (`src/cli/tests.rs`)."""
    deviates("tls-client-ca")
    compare(oracle, [["-t", "-k", "key.pem", "-c", "cert.pem", "--tls-client-auth"]], tmp_path)
