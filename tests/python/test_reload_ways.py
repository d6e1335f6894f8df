"""The ways in which files change: links that are switched, other names of a file, silent file systems."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from serving import Server, Start, handler, program, wait_until, write
from test_reload import after

MOUNTS = ["unshare", "--mount"]
"""Begins a command whose mounts nobody else sees. Needs root."""

PASS_ON = """
import errno, os, sys
import mfusepy

os.closerange(3, 100)  # They are the server's.

class PassOn(mfusepy.Operations):
    use_ns = True

    def getattr(self, path, fh=None):
        try:
            found = os.lstat(sys.argv[1] + path)
        except OSError as error:
            raise mfusepy.FuseOSError(error.errno)
        whole = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")
        times = {name: getattr(found, name + "_ns") for name in ("st_atime", "st_mtime", "st_ctime")}
        return {name: getattr(found, name) for name in whole} | times

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(sys.argv[1] + path)]

    def open(self, path, flags):
        return os.open(sys.argv[1] + path, flags)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def release(self, path, fh):
        os.close(fh)
        return 0

mfusepy.FUSE(PassOn(), sys.argv[2], foreground=True, nothreads=True, ro=True)
"""
"""A file system that shows a folder, and whose kernel does not hear of what changes in it."""


def says(text: str, imports: str = "") -> str:
    """A handler that sends `text`, a Python expression."""
    return handler(f"request.ws_stream.send_message({text})", before=imports)


def imports_helper(folder: Path) -> str:
    return f"import sys\nsys.path.insert(0, {str(folder)!r})\nimport helper"


def switch(link: Path, target: str) -> None:
    """Makes a link lead to another place, in one step."""
    new = link.with_name(f"{link.name}.new")
    new.symlink_to(target)
    new.replace(link)


def becomes(server: Server, resource: str, text: str) -> None:
    """Waits for an answer that the server may give while things change, if it gives any."""

    def is_there() -> bool:
        return server.status(resource) == 101 and server.ask(resource, None) == text

    wait_until(is_there, f"{text} from {resource}")


def inside(start: Start, root: Path, prepare: str, *options: str) -> Server:
    """A server that sees what a shell command has mounted; skips the test where that may not be done."""
    tried = subprocess.run([*MOUNTS, "mount", "--bind", root, root], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"nothing can be mounted here: {tried.stderr.strip()}")
    command = [*MOUNTS, "sh", "-ec", f'{prepare}\nexec "$@"', "sh"]
    return start("--log-level", "info", *options, root=root, command=[*command, *program()])


@pytest.mark.parametrize("options", [[], ["--reload-poll", "0.05"]])
def test_the_tree_is_where_its_name_leads(start: Start, tmp_path: Path, options: list[str]) -> None:
    for release in ("one", "two", "three"):
        write(tmp_path, f"{release}/h/a_wsh.py", says(repr(release)))
    current = tmp_path / "current"
    current.symlink_to("one")
    server = start("--log-level", "info", *options, root=current / "h", cwd=tmp_path)
    assert server.ask("/a", None) == "one"
    for old, new in (("one", "two"), ("two", "three")):
        switch(current, new)
        shutil.rmtree(tmp_path / old)
        becomes(server, "/a", new)
    server.log.wait_for("Handlers come from .*/three/h now")
    write(tmp_path, "three/h/a_wsh.py", says("'three, saved'"))
    becomes(server, "/a", "three, saved")
    write(tmp_path, "three/h/b_wsh.py", says("'new'"))
    becomes(server, "/b", "new")


def test_a_link_in_the_middle_of_a_path_is_switched(start: Start, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path, f"{name}/say.py", says(repr(name)))
        write(tmp_path, f"{name}/helper.py", f"VALUE = {name!r}\n")
        write(tmp_path, f"{name}/map.txt", f"/{name} /say\n")
    links = {name: tmp_path / name for name in ("files", "lib", "conf")}
    for link in links.values():
        link.symlink_to("one")
    root = tmp_path / "root"
    write(root, "use_wsh.py", says("helper.VALUE", imports_helper(links["lib"])))
    (root / "say_wsh.py").symlink_to("../files/say.py")
    options = ["--allow-handlers-outside-root-dir", "-m", str(links["conf"] / "map.txt")]
    server = start(*options, root=root)
    assert [server.ask(resource, None) for resource in ("/say", "/use", "/one")] == ["one", "one", "one"]
    switch(links["files"], "two")
    becomes(server, "/say", "two")
    switch(links["lib"], "two")
    becomes(server, "/use", "two")
    switch(links["conf"], "two")
    becomes(server, "/two", "two")
    assert server.status("/one") == 404


def test_a_file_is_written_under_its_other_name(start: Start, tmp_path: Path) -> None:
    root, far = tmp_path / "root", tmp_path / "far"
    for name in ("a_wsh.py", "b_wsh.py"):
        write(far, name, says("'one'"))
    helper = write(far, "helper.py", "VALUE = 'one'\n")
    root.mkdir()
    os.link(far / "a_wsh.py", root / "a_wsh.py")
    os.link(helper, root / "helper.py")
    write(root, "use_wsh.py", says("helper.VALUE", imports_helper(root)))
    server = start("--log-level", "info", root=root)
    after(server, lambda: write(far, "a_wsh.py", says("'two'")), "Reloaded .*changed /a$")
    assert server.ask("/a", None) == "two"
    after(server, lambda: helper.write_text("VALUE = 'two'\n"), "Reloaded .*changed /use$")
    assert server.ask("/use", None) == "two"
    # Another file in its place.
    os.link(far / "b_wsh.py", root / "fresh")
    (root / "fresh").replace(root / "a_wsh.py")
    becomes(server, "/a", "one")
    write(far, "b_wsh.py", says("'three'"))
    becomes(server, "/a", "three")


def test_a_single_file_is_mounted(start: Start, tmp_path: Path) -> None:
    """As with `docker run -v ./a_wsh.py:/handlers/a_wsh.py`."""
    host, root = write(tmp_path, "host.py", says("'one'")), tmp_path / "root"
    place = write(root, "a_wsh.py", "")
    server = inside(start, root, f"mount --bind '{host}' '{place}'")
    assert server.ask("/a", None) == "one"
    after(server, lambda: host.write_text(says("'two'")), "Reloaded .*changed /a$")
    assert server.ask("/a", None) == "two"


@pytest.mark.parametrize("kind", ["below", "link", "helper", "overlay"])
def test_what_makes_no_events_is_polled(start: Start, tmp_path: Path, kind: str) -> None:
    try:
        importlib.import_module("mfusepy")
    except OSError as error:
        pytest.skip(f"FUSE is not to be had here: {error}")
    if not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse")
    far, at, root = tmp_path / "far", tmp_path / "at", tmp_path / "root"
    seen = write(far, "a_wsh.py", says("'one'"))
    helper = write(far, "helper.py", "VALUE = 'one'\n")
    near = write(root, "near_wsh.py", says("'near'"))
    at.mkdir()
    pass_on = write(tmp_path, "pass_on.py", PASS_ON)
    mount = f"""
        setpriv --pdeathsig KILL '{sys.executable}' '{pass_on}' '{far}' '{at}' < /dev/null > /dev/null 2>&1 &
        while ! mountpoint -q '{at}'; do kill -0 $!; done
    """
    resource = "/a"
    if kind == "below":
        resource = "/sub/a"
        at = root / "sub"
        at.mkdir()
        mount = mount.replace(str(tmp_path / "at"), str(at))
    elif kind == "link":
        (root / "a_wsh.py").symlink_to(at / "a_wsh.py")
    elif kind == "helper":
        resource = "/use"
        write(root, "use_wsh.py", says("helper.VALUE", imports_helper(at)))
    else:
        resource = "/over/a"
        over = root / "over"
        over.mkdir()
        other = write(tmp_path, "other/x", "").parent
        mount += f"mount -t overlay overlay -o 'lowerdir={at}:{other}' '{over}'\n"
    server = inside(start, root, mount, "--allow-handlers-outside-root-dir")
    assert server.ask(resource, None) == "one"
    server.log.wait_for("looked at every 1 s instead of watched: .* is on .*fuse.*, which does not tell of")
    seen.write_text(says("'two'"))
    helper.write_text("VALUE = 'two'\n")
    becomes(server, resource, "two")
    assert server.log.text.count("instead of watched") == 1
    # All else is watched as ever.
    after(server, lambda: near.write_text(says("'nearer'")), "Reloaded .*changed /near$")
