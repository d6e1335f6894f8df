"""A tree as Firefox's build folder looks: very many folders, and files that are links into a source tree.

A tenth of the size by default; `WSHOST_LARGE_TREE=1` builds all of it.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from serving import Start, handler, wait_until

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


def test_a_large_tree(start: Start, tmp_path: Path) -> None:
    source, objdir = tmp_path / "source", tmp_path / "objdir"
    build(source, objdir)
    walk = subprocess.run(
        [sys.executable, "-c", WALK, str(objdir)], capture_output=True, text=True, check=True
    )
    found, took = walk.stdout.split()
    assert int(found) == HANDLERS
    begin = time.monotonic()
    options = ["--log-level", "info", "--allow-handlers-outside-root-dir"]
    server = start(*options, root=objdir)
    print(f"reference's walk {float(took):.2f} s, start {time.monotonic() - begin:.2f} s")
    edited = source / "h7_wsh.py"
    edited.write_text(handler("request.ws_stream.send_message('7 two')"))
    resource = f"/{next(objdir.glob('*/*/*/h7_wsh.py')).relative_to(objdir)}".removesuffix("_wsh.py")
    wait_until(lambda: server.ask(resource, None) == "7 two", "the edit at the link's target")
    watches = sum(
        file.read_text().count("inotify wd")
        for file in Path(f"/proc/{server.process.pid}/fdinfo").iterdir()
        if file.is_file()
    )
    print(f"{watches} watches")
    assert watches < FOLDERS * 1.2 + 100
    begin, before = time.monotonic(), cpu(server.process.pid)
    edited.write_text(handler("request.ws_stream.send_message('7 three')"))
    wait_until(lambda: server.ask(resource, None) == "7 three", "the next edit")
    print(
        f"reload {time.monotonic() - begin:.3f} s, {cpu(server.process.pid) - before:.2f} s of processor time"
    )
    # Twice the time of a handshake's: nothing goes on when nothing changes.
    before = cpu(server.process.pid)
    for _ in range(20):
        assert server.ask(resource, None) == "7 three"
    print(f"{cpu(server.process.pid) - before:.2f} s of processor time for 20 connections")
    assert server.log.text.count("Reloaded") == 2
