"""The oracle's own unit tests, unmodified, against our package. (Its end-to-end tests start servers.)"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from oracle import Oracle

# It gives `randint` a float, which Python 3.12 and newer refuse.
_BROKEN = {"test_random_section"} if sys.version_info >= (3, 12) else set()


def test_unit_tests(oracle: Oracle, tmp_path: Path) -> None:
    tests = tmp_path / "test"
    shutil.copytree(oracle.source / "test", tests)
    # The source distribution lacks these two.
    (tests / "testdata" / "README").write_text("No script.\n")
    (tests / "testdata" / "hello.pl").write_text("#!/usr/bin/perl -wT\n")
    modules = sorted({path.stem for path in tests.glob("test_*.py")} - {"test_endtoend"})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "unittest", *modules],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tests)},
        capture_output=True,
        text=True,
    )
    assert set(re.findall(r"^(?:ERROR|FAIL): (\w+)", done.stderr, re.MULTILINE)) == _BROKEN, done.stderr
    assert "Ran 126 tests" in done.stderr, done.stderr
