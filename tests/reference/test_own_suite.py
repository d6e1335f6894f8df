"""The oracle's own test suite, unmodified, against our packages: 126 unit tests and 28 end-to-end tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import Oracle
from servers import wshost_binary

# It gives `randint` a float, which Python 3.12 and newer refuse.
_BROKEN = {"test_random_section"} if sys.version_info >= (3, 12) else set()


@pytest.fixture
def tree(oracle: Oracle) -> Iterator[Path]:
    """The oracle's source distribution without its package."""
    # Not below pytest's folder: a CGI script runs as nobody where the tests run as root, and must get there.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for name in ("example", "test"):
        shutil.copytree(oracle.source / name, folder / name)
    # The source distribution lacks these two.
    (folder / "test" / "testdata" / "README").write_text("No script.\n")
    (folder / "test" / "testdata" / "hello.pl").write_text("#!/usr/bin/perl -wT\n")
    yield folder
    shutil.rmtree(folder)


def test_unit_tests(tree: Path) -> None:
    modules = sorted({path.stem for path in (tree / "test").glob("test_*.py")} - {"test_endtoend"})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "unittest", *modules],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "test")},
        capture_output=True,
        text=True,
    )
    assert set(re.findall(r"^(?:ERROR|FAIL): (\w+)", done.stderr, re.MULTILINE)) == _BROKEN, done.stderr
    assert "Ran 126 tests" in done.stderr, done.stderr


@pytest.mark.parametrize("way", ["module", "path", "binary"])
def test_end_to_end_tests(tree: Path, way: str) -> None:
    command = {
        "module": [sys.executable, "-m", "pywebsocket3.standalone"],
        "path": [],
        "binary": [str(wshost_binary())],
    }[way]
    if way == "path":
        subprocess.run([sys.executable, "-m", "wshost", "vendor", str(tree)], check=True)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("end_to_end.py")), *command],
        cwd=tree,
        env={**os.environ, "PATH": f"{_folder_with_python(tree)}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 28 tests" in done.stderr, done.stderr


def _folder_with_python(tree: Path) -> Path:
    """A folder with a `python` that everybody can run, for the CGI script, which is run by nobody."""
    folder = tree / "bin"
    folder.mkdir()
    # The interpreter of the tests may lie in the home of root; a system's own one does not.
    found = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin")
    own = Path(sysconfig.get_config_var("BINDIR")) / f"python{sysconfig.get_config_var('VERSION')}"
    (folder / "python").symlink_to(found or own)
    return folder
