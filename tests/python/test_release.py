"""What a release needs: one version, a package with all its sources, a wheel that works."""

import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import ECHO, REPOSITORY, Start, program, run, wait_until, write


def cargo(*arguments: str) -> str:
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not installed")
    done = subprocess.run(["cargo", *arguments], cwd=REPOSITORY, text=True, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_version_comes_from_one_place() -> None:
    program("wheel")
    manifest = (REPOSITORY / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.*)"$', manifest, re.M)
    assert version
    assert 'dynamic = ["version"]' in (REPOSITORY / "pyproject.toml").read_text()
    assert importlib.metadata.version("wshost") == version.group(1)
    for way in ("binary", "wheel"):
        assert run("--version", way=way).stdout.startswith(f"wshost {version.group(1)}\n")


def test_the_package_has_what_it_is_built_from() -> None:
    files = set(cargo("package", "--list", "--locked", "--allow-dirty").split())
    tracked = subprocess.check_output(["git", "ls-files"], cwd=REPOSITORY, text=True).split()
    needed = {name for name in tracked if name.startswith(("src/", "python/"))}
    needed |= {"Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "build.rs", "pyproject.toml"}
    assert needed <= files, needed - files
    assert not {name for name in files if Path(name).parts[0] in ("tests", "docs", "scripts", "handlers")}


def test_the_wheel_says_what_it_is() -> None:
    program("wheel")
    about = importlib.metadata.metadata("wshost")
    assert about["License-Expression"] == "MIT"
    assert about["Requires-Python"] == ">=3.9"
    assert set(about.get_all("Provides-Extra") or []) >= {"py2", "pytest"}


def test_the_wheel_serves_and_reloads(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "echo_wsh.py", ECHO)
    server = start(way="wheel")
    assert server.ask("/echo", "old") == "old"
    write(tmp_path, "echo_wsh.py", ECHO.replace("send_message(message", "send_message('new'"))
    wait_until(lambda: server.ask("/echo", "old") == "new", "the new version")
    assert server.stop() == 0
