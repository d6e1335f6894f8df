"""Random file operations, and after each few of them: is served what must be served?

The seed is fixed. `WSHOST_SOAK_SEED` and `WSHOST_SOAK_OPERATIONS` take others; the output names them.
`WSHOST_SOAK_QUEUE` makes the system keep no more than so many events, so that the server loses some. It
holds for the whole machine meanwhile.
"""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest
from serving import Server, Start, wait_until, write

OPERATIONS = int(os.environ.get("WSHOST_SOAK_OPERATIONS", "2000"))
SEED = int(os.environ.get("WSHOST_SOAK_SEED", "5"))
QUEUE = os.environ.get("WSHOST_SOAK_QUEUE")
QUEUE_SETTING = Path("/proc/sys/fs/inotify/max_queued_events")
BATCH = 12

GOOD = """
import os, sys
sys.path[:0] = [p for p in [{root!r}] if p not in sys.path]
import {helper}


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    request.ws_stream.send_message("{version}")
    request.ws_stream.send_message({helper}.VALUE)
"""

Answer = Optional[tuple[str, str]]


class Tree:
    """The files, what they hold, and what may be served of each."""

    def __init__(self, root: Path, outside: Path, seed: int) -> None:
        self.root = root
        self.outside = outside
        self.random = random.Random(seed)
        self.versions = 0
        # Path → the version and helper that the file holds, or None for one that does not load.
        self.held: dict[Path, Optional[tuple[str, str]]] = {}
        self.helpers = {"help0": "0", "help1": "0"}
        # Since the end of a batch at which a path had something good: good versions that were there, and the
        # paths that were away.
        self.passed: dict[Path, set[str]] = {}
        self.away: set[Path] = set()
        # And what helpers held: since the beginning of the batch, and for such a path before it.
        self.helped: set[str] = set()
        self.helped_before: dict[Path, set[str]] = {}
        for name in self.helpers:
            write(root, f"{name}.py", "VALUE = '0'\n")

    def path(self) -> Path:
        """Some path, of a file that is there or not."""
        folder = self.random.choice(["", "a", "b", "b/c", "d"])
        return self.root / folder / f"h{self.random.randrange(3)}_wsh.py"

    def source(self, path: Path) -> str:
        """A new source for the path: one that loads, or one that does not."""
        self.versions += 1
        if self.random.random() < 0.25:
            self.held[path] = None
            return self.random.choice(["def (:\n", "raise KeyError('bad')\n", "x = 1\n", ""])
        held = self.held[path] = (f"v{self.versions}", self.random.choice(list(self.helpers)))
        self.passed.setdefault(path, set()).add(held[0])
        return GOOD.format(root=str(self.root), version=held[0], helper=held[1])

    def in_place(self) -> None:
        """Writes a file, through the link if it is one."""
        path = self.path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.source(path))

    def rename_over(self) -> None:
        """Puts a whole file into a place."""
        path = self.path()
        fresh = write(path.parent, "fresh.tmp", self.source(path))
        fresh.replace(path)

    def link(self) -> None:
        """Puts a link to a file of its own into a place."""
        path = self.path()
        target = write(self.outside, f"{self.versions}.py", self.source(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".link")
        new.symlink_to(target)
        new.replace(path)

    def switched(self) -> Path:
        """A handler that is a link through a link."""
        return self.root / "switched_wsh.py"

    def switch(self) -> None:
        """Makes the link in the middle of its way lead elsewhere, and removes what was there."""
        path, current = self.switched(), self.outside / "current"
        release = write(self.outside, f"release{self.versions}/s.py", self.source(path)).parent
        old = current.resolve() if current.exists() else None
        new = self.outside / "current.new"
        new.symlink_to(release.name)
        new.replace(current)
        if old:
            shutil.rmtree(old)
        if not path.is_symlink():
            path.symlink_to(current / "s.py")

    def storm(self) -> None:
        """Makes many folders, and removes them."""
        storm = self.root / "storm"
        for number in range(80):
            write(storm, f"{number}/deep/x", "")
        shutil.rmtree(storm)

    def one(self) -> Optional[Path]:
        """Some file that is there and may be moved."""
        held = sorted(path for path in self.held if path != self.switched())
        return self.random.choice(held) if held else None

    def unlink(self) -> None:
        """Removes a file."""
        if path := self.one():
            path.unlink()
            self.gone(path)

    def gone(self, path: Path) -> None:
        """Takes note that a file is away."""
        del self.held[path]
        self.away.add(path)

    def move(self) -> None:
        """Gives a file the name of another."""
        path = self.path()
        if (old := self.one()) and old != path:
            path.parent.mkdir(parents=True, exist_ok=True)
            old.replace(path)
            held = self.held[path] = self.held[old]
            if held:
                self.passed.setdefault(path, set()).add(held[0])
            self.gone(old)

    def move_folder(self) -> None:
        """Gives a folder another name, in the place of one that is removed."""
        old, new = self.root / "d", self.root / self.random.choice(["a", "b/c"])
        if not old.exists():
            return
        if new.exists():
            shutil.rmtree(new)
            for path in [path for path in self.held if path.parent == new]:
                self.gone(path)
        new.parent.mkdir(parents=True, exist_ok=True)
        old.rename(new)
        for path in [path for path in self.held if path.parent == old]:
            held = self.held[new / path.name] = self.held[path]
            if held:
                self.passed.setdefault(new / path.name, set()).add(held[0])
            self.gone(path)

    def drop(self) -> None:
        """What editors leave lying about."""
        write(self.root, self.random.choice(["4913", ".#h0_wsh.py~", "h1_wsh.py~", ".h0_wsh.py.swp"]), "x")

    def helper(self) -> None:
        """Changes a module that handlers import."""
        name = self.random.choice(list(self.helpers))
        self.versions += 1
        self.helpers[name] = str(self.versions)
        self.helped.add(str(self.versions))
        fresh = write(self.root, "helper.tmp", f"VALUE = '{self.versions}'\n")
        fresh.replace(self.root / f"{name}.py")

    def step(self) -> None:
        """One operation."""
        operations = [self.in_place, self.rename_over, self.link, self.unlink, self.move, self.drop]
        rare = [self.move_folder, self.helper, self.switch]
        self.random.choice(
            [*operations, *operations, *rare] if self.random.random() > 0.02 else [self.storm]
        )()

    def is_right(self, path: Path, answer: Answer, before: Answer) -> bool:
        """Whether a path may be answered like this, if it was answered like that before the batch."""
        if path not in self.held:
            return answer is None
        held = self.held[path]
        if held is not None:
            return answer == (held[0], self.helpers[held[1]])
        # It does not load: its last good version, which may have come and gone between two looks.
        if answer is None:
            return before is None or path in self.away
        helped = self.helped | self.helped_before.get(path, set())
        if before is not None and answer[0] == before[0] and answer[1] in helped:
            # Its helper changed first: what was good then was loaded again with it.
            return True
        return answer == before or answer[0] in self.passed.get(path, set())

    def end_batch(self) -> None:
        """Forgets what cannot be served any more.

        Where a file is away or does not load, nothing tells how far the server is: what it loads since an
        earlier batch may still become the last good version of one that does not load. Of a good file that is
        the version which is served, which may be loaded once more.
        """
        good = {path: held[0] for path, held in self.held.items() if held is not None}
        open_ends = {*self.held, *self.passed, *self.away, *self.helped_before} - {*good}
        self.passed = {path: versions for path, versions in self.passed.items() if path in open_ends}
        self.passed.update((path, {version}) for path, version in good.items())
        self.away &= open_ends
        self.helped_before = {path: self.helped | self.helped_before.get(path, set()) for path in open_ends}
        self.helped = set()


def ask(server: Server, root: Path, path: Path) -> Answer:
    resource = "/" + str(path.relative_to(root)).removesuffix("_wsh.py")
    with server.raw(resource, upgraded=False) as client:
        status, _ = client.response()
        if status == 404:
            return None
        assert status == 101, f"{resource}: {status}"
        return client.frame().payload.decode(), client.frame().payload.decode()


@pytest.fixture(autouse=True)
def small_queue() -> Iterator[None]:
    """Events are lost soon, if that is asked for."""
    before = QUEUE_SETTING.read_text() if QUEUE else ""
    try:
        if QUEUE:
            QUEUE_SETTING.write_text(QUEUE)
        yield
    finally:
        if QUEUE:
            QUEUE_SETTING.write_text(before)


@pytest.mark.timeout(400)
def test_what_is_served_is_what_is_there(start: Start, tmp_path: Path) -> None:
    print(f"WSHOST_SOAK_SEED={SEED} WSHOST_SOAK_OPERATIONS={OPERATIONS}")
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    tree = Tree(root, outside, SEED)
    server = start("--log-level", "fine", "--allow-handlers-outside-root-dir", root=root)
    served: dict[Path, Answer] = {}
    for done in range(0, OPERATIONS, BATCH):
        for _ in range(min(BATCH, OPERATIONS - done)):
            tree.step()
        for path in sorted({*tree.held, *served}):
            before = served.get(path)

            def is_right(path: Path = path, before: Answer = before) -> bool:
                served[path] = ask(server, root, path)
                return tree.is_right(path, served[path], before)

            try:
                wait_until(is_right, f"{path} after {done} operations")
            except AssertionError:
                print(
                    f"held: {tree.held.get(path)}, helpers: {tree.helpers}, passed: {tree.passed.get(path)}"
                )
                print(f"away: {path in tree.away}, before: {before}, served: {served[path]}")
                raise
        tree.end_batch()
    assert tree.versions > OPERATIONS / 4
    print(f"{server.log.text.count('watched anew')} times watched anew")


def test_what_loads_late_may_be_the_last_good_version(tmp_path: Path) -> None:
    """The model: the last version and those that came before the file broke are right, older ones are not."""
    tree = Tree(tmp_path, tmp_path, SEED)
    path = tmp_path / "h0_wsh.py"
    for version in ("v0", "v1"):
        tree.held[path] = (version, "help0")
        tree.end_batch()
    tree.held[path] = None
    tree.passed[path].add("v2")
    tree.end_batch()
    for version in ("v1", "v2"):
        assert tree.is_right(path, (version, "0"), None)
    # Also when it was away before it came back broken.
    tree.gone(path)
    tree.end_batch()
    tree.held[path] = None
    assert tree.is_right(path, ("v2", "0"), None)
    assert not tree.is_right(path, ("v0", "0"), ("v2", "0"))
