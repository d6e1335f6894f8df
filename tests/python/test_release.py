"""What a release needs: one version, licences that fit ours, and a package that has what it is built from."""

import importlib.metadata
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import REPOSITORY, program, run

# Each lets us link it into a program under MIT. Of "A OR B" one is enough, of "A AND B" both are needed.
FITTING = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


def cargo(*arguments: str) -> str:
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not installed")
    done = subprocess.run(["cargo", *arguments], cwd=REPOSITORY, text=True, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fits(expression: str) -> bool:
    """Whether a licence expression of Cargo (SPDX, or with the older slash) can be met."""
    expression = expression.replace("/", " OR ").replace("(", " ( ").replace(")", " ) ")
    while inner := re.search(r"\(([^()]*)\)", expression):
        met = "MIT" if fits(inner.group(1)) else "none"
        expression = expression[: inner.start()] + met + expression[inner.end() :]
    every = [part.split(" AND ") for part in re.split(r"\s+OR\s+", expression.strip())]
    return any(all(name.strip() in FITTING for name in part) for part in every)


def test_licence_expressions() -> None:
    for expression in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(MIT OR GPL-3.0) AND Unicode-3.0"]:
        assert fits(expression), expression
    for expression in ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-2.0 OR GPL-3.0) AND MIT", ""]:
        assert not fits(expression), expression


def test_licences_of_the_dependencies_fit() -> None:
    host = re.search(r"^host: (.*)$", subprocess.check_output(["rustc", "-vV"], text=True), re.M)
    assert host
    told = cargo("metadata", "--format-version=1", "--locked", f"--filter-platform={host.group(1)}")
    licences = {package["name"]: package["license"] or "" for package in json.loads(told)["packages"]}
    assert len(licences) > 50
    assert {name: text for name, text in licences.items() if not fits(text)} == {}


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
