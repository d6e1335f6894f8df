"""What hinders a reload: files that are no files, code that hangs, no descriptors, the wrong thread."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import SECONDS, Start, handler, program, wait_until, write
from test_reload import after
from test_reload_ways import becomes, imports_helper, says
from test_status import LOCAL, api


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    os.truncate(path, 1 << 30)


@pytest.mark.parametrize("spoil", [pipe, device, huge])
def test_nothing_but_files_is_read(start: Start, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    names = write(tmp_path, "names.map", "/alias /a\n")
    helper = write(tmp_path, "helper.py", "VALUE = 'one'\n")
    path = write(tmp_path, "a_wsh.py", says("'one'"))
    write(tmp_path, "use_wsh.py", says("helper.VALUE", imports_helper(tmp_path)))
    options = ["--log-level", "info", "--allow-handlers-outside-root-dir"]
    server = start(*options, "-m", str(names))
    for spoiled in (names, helper, path):
        after(
            server, lambda spoiled=spoiled: spoil(spoiled), rf"{spoiled}: .*(not a regular file|larger than)"
        )
    assert server.ask("/use", None) == "one"
    for repaired in (names, helper, path):
        repaired.unlink()
    write(tmp_path, "names.map", "/other /a\n")
    write(tmp_path, "helper.py", "VALUE = 'two'\n")
    write(tmp_path, "a_wsh.py", says("'two'"))
    becomes(server, "/other", "two")
    becomes(server, "/use", "two")


def test_a_map_that_is_a_pipe_is_read_once(start: Start, tmp_path: Path) -> None:
    """As with `-m <(...)`."""
    path = write(tmp_path, "a_wsh.py", says("'one'"))
    shell = ["bash", "-c", 'exec "$@" -m <(echo /alias /a)', "bash"]
    server = start("--log-level", "info", command=[*shell, *program()])
    assert server.ask("/alias", None) == "one"
    after(server, lambda: path.write_text(says("'two'")), "Reloaded .*changed /a, /alias$")
    assert server.ask("/alias", None) == "two"


def test_what_hangs_when_its_file_is_gone_holds_up_nobody(start: Start, tmp_path: Path) -> None:
    hangs = "import threading\ndef wshost_unload(module): print('hangs'); threading.Event().wait()\n"
    gone = write(tmp_path, "gone_wsh.py", says("'one'", hangs))
    path = write(tmp_path, "a_wsh.py", says("'one'"))
    server = start("--log-level", "info")
    gone.unlink()
    server.output.wait_for("^hangs$")
    after(server, lambda: path.write_text(says("'two'")), "Reloaded .*changed /a$")
    after(server, lambda: write(tmp_path, "gone_wsh.py", says("'two'")), "Reloaded .*added /gone$")
    assert [server.ask(resource, None) for resource in ("/a", "/gone")] == ["two", "two"]


LIMITS = """
import resource
SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
"""

LIMIT = """
while (message := request.ws_stream.receive_message()) is not None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3 if message == "none" else SOFT, HARD))
    request.ws_stream.send_message(message)
"""


def test_what_is_saved_without_descriptors_is_loaded_when_there_are_some(
    start: Start, tmp_path: Path
) -> None:
    write(tmp_path, "limit_wsh.py", handler(LIMIT, before=LIMITS))
    helper = write(tmp_path, "helper.py", "VALUE = 'one'\n")
    path = write(tmp_path, "a_wsh.py", says("'one'"))
    write(tmp_path, "use_wsh.py", says("helper.VALUE", imports_helper(tmp_path)))
    server = start("--log-level", "info")
    assert server.ask("/use", None) == "one"
    with server.talk("/limit") as limit:

        def allow(which: str) -> None:
            limit.send(which)
            assert limit.recv(SECONDS) == which

        allow("none")
        helper.write_text("VALUE = 'two'\n")
        write(tmp_path, "new/b_wsh.py", says("'new'"))
        after(server, lambda: path.write_text(says("'two'")), "a_wsh.py: .*Too many open files.*tried again")
        allow("all")
        becomes(server, "/a", "two")
        becomes(server, "/use", "two")
        becomes(server, "/new/b", "new")


def test_an_endless_loop_is_named_and_repaired_at_once(start: Start, tmp_path: Path) -> None:
    kept = "wshost_keep = ('kept',)\nkept = globals().get('kept', 0) + 1\n"
    path = write(tmp_path, "a_wsh.py", says("str(kept)", kept))
    server = start("--log-level", "info", *LOCAL)
    loop = "import time\nwhile True: time.sleep(0.01)\n"
    after(server, lambda: path.write_text(says("'never'", loop)), "a_wsh.py takes long to load")
    assert server.ask("/a", None) == "1", "its last version serves"
    server.log.wait_for(r"\[WARNING\] .*a_wsh.py has been loading for 3 s and goes on")
    [told] = wait_until(lambda: api(server)["handlers"], "the page")
    assert told["state"] == "serving"
    assert told["loading_since"] is not None
    repaired = says("str(kept)", f"{kept}# repaired")
    after(server, lambda: path.write_text(repaired), "Reloaded .*changed /a$")
    assert server.ask("/a", None) == "2", "it takes over from the last good version"


MAIN_THREAD = {
    "signal": "import signal\nsignal.signal(signal.SIGUSR2, signal.SIG_IGN)\n",
    "asyncio": "import asyncio\nLOOP = asyncio.get_event_loop()\n",
}


@pytest.mark.parametrize("what", MAIN_THREAD)
def test_what_loads_on_the_main_thread_loads_there_again(
    start: Start, tmp_path: Path, way: str, what: str
) -> None:
    imports = "import warnings\nwarnings.simplefilter('ignore')\n" + MAIN_THREAD[what]
    path = write(tmp_path, "a_wsh.py", says("'one'", imports))
    server = start("--log-level", "info", way=way)
    after(server, lambda: path.write_text(says("'two'", imports)), "Reloaded .*changed /a$")
    assert server.ask("/a", None) == "two"


def test_a_load_that_hangs_on_the_main_thread_does_not_hold_up_the_end(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "a_wsh.py", says("'one'"))
    server = start("--log-level", "info")
    hangs = "import threading\nthreading.Event().wait()\n"
    after(server, lambda: write(tmp_path, "b_wsh.py", says("'never'", hangs)), "b_wsh.py takes long to load")
    # Others load on another thread meanwhile.
    after(server, lambda: write(tmp_path, "a_wsh.py", says("'two'")), "Reloaded .*changed /a$")
    assert server.stop() == 0
    assert "still being loaded on the main thread" in server.log.rest()


def test_a_file_that_is_away_for_a_moment_keeps_its_last_version(start: Start, tmp_path: Path) -> None:
    """As editors do it that rename, wait, and write."""
    path = write(tmp_path, "a_wsh.py", says("'one'"))
    server = start("--log-level", "info")
    aside = tmp_path / "aside"
    for version in range(5):
        began = time.monotonic()
        path.rename(aside)
        # Long enough for the server to have looked, and not as long as it waits.
        while time.monotonic() < began + 0.06:
            status = server.status("/a")
            assert status == 101 or time.monotonic() > began + 0.1
        write(tmp_path, "a_wsh.py", says(f"'{version}'"))
        becomes(server, "/a", str(version))
    after(server, path.unlink, "Reloaded .*removed /a$")
    assert server.status("/a") == 404
