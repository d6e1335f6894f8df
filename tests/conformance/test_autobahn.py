"""The Autobahn test suite against an echo handler: RFC 6455 and RFC 7692 as somebody else reads them.

`FULL=1` runs all 517 cases; without it those that take long are left out. `CASES='7.* 6.4.*'` runs some.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest
import suite
from serving import ECHO, REPOSITORY, Server, write

FULL = os.environ.get("FULL") == "1"
CASES = os.environ.get("CASES", "*").split()
SECONDS = 5400 if FULL else 600
"""How long the client may take; building it once is not in it."""


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_autobahn(scheme: str, tmp_path: Path) -> None:
    """Each case ends as `expected.txt` says; a difference is shown as a diff."""
    python = suite.python27()
    if python is None:
        pytest.skip("NOT TESTED: the Autobahn suite needs a CPython 2.7 with ssl (PYTHON27=PATH, or pyenv)")
    client = suite.wstest(python)
    root = tmp_path / "handlers"
    write(root, "echo_wsh.py", ECHO)
    reports = REPOSITORY / ".cache" / "conformance" / scheme
    options = ["--tls-self-signed"] if scheme == "wss" else []
    excluded = [] if FULL else suite.LARGE
    with Server(root, *options) as server:
        url = f"{scheme}://{server.address}/echo"
        results = suite.run(client, url, reports, CASES, excluded, SECONDS)
    print(f"\n{scheme}\n{suite.table(results)}")
    expected = {case: ending for case, ending in suite.expected().items() if case in results}
    wanted, found = suite.exceptions(expected), suite.exceptions(results)
    difference = "\n".join(difflib.unified_diff(wanted, found, "expected.txt", scheme, lineterm="", n=0))
    assert not difference, f"the reports are in {reports}:\n{difference}"
    if FULL and CASES == ["*"]:
        assert len(results) == 517


def test_nothing_that_is_expected_is_a_failure() -> None:
    expected = suite.expected()
    informational = {
        case for case, ending in expected.items() if ending == ("INFORMATIONAL", "INFORMATIONAL")
    }
    assert informational == {"7.1.6", "7.13.1", "7.13.2"}
    rest = {case: ending for case, ending in expected.items() if case not in informational}
    assert set(rest.values()) == {("OK", "WRONG CODE")}
    assert all(case.startswith(("3.", "4.")) for case in rest)
