"""A tree as Firefox's build folder looks: very many folders, and files that are links into a source tree.

A tenth of the size by default; `WSHOST_LARGE_TREE=1` builds all of it. To compare the starts, `WSHOST_ORACLE`
may name an installed reference: `.cache/oracle/python3.11`, which the tests of tests/reference make.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serving import Server, Start, handler, wait_until

ORACLE = os.environ.get("WSHOST_ORACLE")
FULL = os.environ.get("WSHOST_LARGE_TREE") == "1"
FOLDERS = 60_000 if FULL else 6_000
FILES_EACH = 5
HANDLERS = 500 if FULL else 50

# What the reference does at its start, without loading anything.
WALK = """
import os, re, sys, time
begin = time.monotonic()
found = 0
for base, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(base, name)
        if re.search(r"_wsh\\.py$", path):
            found += os.path.realpath(path) != ""
print(found, time.monotonic() - begin)
"""


def build(source: Path, objdir: Path) -> None:
    """Makes both trees."""
    source.mkdir()
    (source / "file.js").write_text("")
    for number in range(HANDLERS):
        text = handler(f"request.ws_stream.send_message('{number} one')")
        (source / f"h{number}_wsh.py").write_text(text)
    per_level = round(FOLDERS ** (1 / 3)) + 1
    made = 0
    for a in range(per_level):
        for b in range(per_level):
            for c in range(per_level):
                if made == FOLDERS:
                    return
                folder = objdir / f"a{a}" / f"b{b}" / f"c{c}"
                os.makedirs(folder)
                for file in range(FILES_EACH):
                    os.symlink(source / "file.js", folder / f"file{file}.js")
                if made < HANDLERS:
                    os.symlink(source / f"h{made}_wsh.py", folder / f"h{made}_wsh.py")
                made += 1


def cpu(process: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watches(server: Server) -> int:
    """How many folders and files the system watches for the server."""
    count = 0
    for file in Path(f"/proc/{server.process.pid}/fdinfo").iterdir():
        # The watches may be made anew while we look.
        with contextlib.suppress(OSError):
            count += file.read_text().count("inotify wd")
    return count


def reference_start(root: Path) -> float:
    """Seconds until the reference is ready."""
    folder = Path(ORACLE or "")
    read_end, write_end = os.pipe()
    command = [str(folder / "venv/bin/python"), str(folder / "run.py"), str(write_end), "-p", "0"]
    options = ["-d", str(root), "--allow-handlers-outside-root-dir"]
    begin = time.monotonic()
    with subprocess.Popen([*command, *options], pass_fds=[write_end]) as process:
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            assert ready.readline()
        took = time.monotonic() - begin
        process.kill()
    return took


def walk(root: Path) -> "tuple[int, float]":
    """What the reference's way through the tree finds, and in how many seconds."""
    done = subprocess.run([sys.executable, "-c", WALK, str(root)], capture_output=True, text=True, check=True)
    found, took = done.stdout.split()
    return int(found), float(took)


@pytest.mark.timeout(400 if FULL else 120)
def test_a_large_tree(start: Start, tmp_path: Path) -> None:
    source, objdir = tmp_path / "source", tmp_path / "objdir"
    build(source, objdir)
    found, took = walk(objdir)
    assert found == HANDLERS
    options = ["--log-level", "info", "--allow-handlers-outside-root-dir"]
    # In turn, so that none has the warmer cache.
    for _ in range(2 if ORACLE else 1):
        if ORACLE:
            print(f"reference's start {reference_start(objdir):.2f} s")
        begin = time.monotonic()
        server = start(*options, root=objdir)
        print(f"start {time.monotonic() - begin:.2f} s, reference's walk {took:.2f} s")
        if ORACLE:
            server.stop()
    if ORACLE:
        server = start(*options, root=objdir)
    edited = source / "h7_wsh.py"
    edited.write_text(handler("request.ws_stream.send_message('7 two')"))
    resource = f"/{next(objdir.glob('*/*/*/h7_wsh.py')).relative_to(objdir)}".removesuffix("_wsh.py")
    wait_until(lambda: server.ask(resource, None) == "7 two", "the edit at the link's target")
    print(f"{watches(server)} watches")
    assert FOLDERS <= watches(server) < FOLDERS * 1.2 + 100
    begin, before = time.monotonic(), cpu(server.process.pid)
    edited.write_text(handler("request.ws_stream.send_message('7 three')"))
    wait_until(lambda: server.ask(resource, None) == "7 three", "the next edit")
    print(
        f"reload {time.monotonic() - begin:.3f} s, {cpu(server.process.pid) - before:.2f} s of processor time"
    )
    # Nothing goes on when nothing changes, while others read the whole tree.
    idle_until, before = time.monotonic() + 2, cpu(server.process.pid)
    while time.monotonic() < idle_until:
        walk(objdir)
    used = cpu(server.process.pid) - before
    print(f"{used:.2f} s of processor time in {time.monotonic() - idle_until + 2:.0f} s without changes")
    assert used * os.sysconf("SC_CLK_TCK") <= 2
    assert server.log.text.count("Reloaded") == 2
    # What goes takes its watches along, and does not cost a look at all the others.
    part = objdir / "a0"
    size = sum(1 for _ in os.walk(part))
    before, watched = cpu(server.process.pid), watches(server)
    part.rename(tmp_path / "away")
    wait_until(lambda: server.status(resource) == 404, "the end of what was moved away")
    # With the last handler, the folder that it is a link to is watched no more, nor what lies there.
    rest = watched - size - 1 - HANDLERS
    wait_until(lambda: watches(server) == rest, "the end of its watches")
    (tmp_path / "away").rename(part)
    wait_until(lambda: server.status(resource) == 101, "what was moved back")
    wait_until(lambda: watches(server) == watched, "its watches")
    shutil.rmtree(part)
    wait_until(lambda: watches(server) == rest, "the end of the watches of what was removed")
    print(f"moved and removed {size} folders with {cpu(server.process.pid) - before:.2f} s of processor time")
