"""Saving the modules that handlers import, and what a new version takes over from the old one."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from serving import REPOSITORY, SECONDS, Server, Start, handler, program, wait_until, write
from test_reload import after, renamed_over

from wshost._helpers import Renewal, depends_on

PATH = "import os, sys\nsys.path[:0] = [p for p in [os.path.dirname(__file__)] if p not in sys.path]\n"


def sends(expression: str, imports: str = "") -> str:
    """A handler that answers each message with the value of an expression, and says when it is loaded."""
    return handler(
        f"""
        while request.ws_stream.receive_message() is not None:
            request.ws_stream.send_message(str({expression}))
        """,
        before=f"{PATH}{imports}\nprint('loaded', os.path.basename(__file__))\n",
    )


def loads(server: Server) -> list[str]:
    """The handler files that were loaded, in order."""
    return [line.removeprefix("loaded ") for line in server.output.text.splitlines()]


def serve(start: Start, *options: str) -> Server:
    return start("--log-level", "info", *options)


def test_exactly_the_dependants_are_loaded_again(start: Start, tmp_path: Path) -> None:
    helper = write(tmp_path, "deep.py", "VALUE = 'one'\n")
    write(tmp_path, "middle.py", "from deep import VALUE\n")
    write(tmp_path, "a_wsh.py", sends("middle.VALUE", "import middle"))
    write(tmp_path, "b_wsh.py", sends("deep.VALUE", "import deep"))
    write(tmp_path, "c_wsh.py", sends("'c'", "import json"))
    server = serve(start)
    with server.talk("/a") as old:
        log = after(server, lambda: renamed_over(helper, "VALUE = 'two'\n"), "Reloaded")
        assert "changed /a, /b" in log
        assert server.ask("/a") == server.ask("/b") == "two"
        old.send("?")
        assert old.recv(SECONDS) == "one", "an open connection keeps the old module"
    assert sorted(loads(server)) == ["a_wsh.py", "a_wsh.py", "b_wsh.py", "b_wsh.py", "c_wsh.py"]


def test_handlers_share_one_new_helper(start: Start, tmp_path: Path) -> None:
    helper = write(tmp_path, "shared.py", "ONE = object()\n")
    for name in "ab":
        write(tmp_path, f"{name}_wsh.py", sends("id(ONE)", "from shared import ONE"))
    server = serve(start)
    before = server.ask("/a")
    assert server.ask("/b") == before
    after(server, lambda: renamed_over(helper, "ONE = object()  # new\n"), "Reloaded .*changed /a, /b")
    assert server.ask("/a") == server.ask("/b") != before


def test_packages_and_circular_imports(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "pack/__init__.py", "")
    one = write(tmp_path, "pack/one.py", "from . import two\nVALUE = 1\n")
    two = write(tmp_path, "pack/two.py", "from . import one\nVALUE = 1\n")
    other = write(tmp_path, "pack/other.py", "VALUE = 1\n")
    write(tmp_path, "a_wsh.py", sends("(one.VALUE, one.two.VALUE)", "from pack import one"))
    write(tmp_path, "b_wsh.py", sends("pack.other.VALUE", "import pack.other"))
    server = serve(start)
    assert server.ask("/a") == "(1, 1)"
    after(server, lambda: renamed_over(two, "from . import one\nVALUE = 2\n"), r"Reloaded .*changed /a$")
    assert server.ask("/a") == "(1, 2)"
    after(server, lambda: renamed_over(one, "from . import two\nVALUE = 3\n"), r"Reloaded .*changed /a$")
    assert server.ask("/a") == "(3, 2)"
    after(server, lambda: renamed_over(other, "VALUE = 4\n"), r"Reloaded .*changed /b$")
    assert server.ask("/b") == "4"
    write(tmp_path, "pack/__init__.py", "# changed\n")
    server.log.wait_for("Reloaded .*changed /a, /b$")


@pytest.mark.parametrize(
    "spelling",
    [
        "import h",
        "import os, h",
        "import os; import h",
        "import os as h2; from h import VALUE",
        "from h import (\n    VALUE,\n)",
        "from os import path; import h",
        "if True: import h",
        "try:\n\timport h  # comment\nexcept ImportError:\n\tpass",
        "def later():\n    import h",
        "import \\\n    h",
        "import importlib\nimportlib.import_module('h')",
        "__import__('h')",
    ],
)
def test_every_spelling_of_an_import_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    helper = write(tmp_path, "h.py", "VALUE = 1\n")
    source = f"import os\nfrom pywebsocket3 import msgutil\n{spelling}\n"
    path = write(tmp_path, "a_wsh.py", source)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert depends_on(str(path)) == depends_on("unread_wsh.py", source=source) == [str(helper)]


def test_what_is_installed_is_no_helper(start: Start, tmp_path: Path) -> None:
    installed = write(tmp_path, "site-packages/installed.py", "VALUE = 'one'\n")
    helper = write(tmp_path, "h.py", "VALUE = 'one'\n")
    path = f"sys.path.append({str(installed.parent)!r})\n"
    write(tmp_path, "a_wsh.py", sends("installed.VALUE", f"{path}import installed"))
    write(tmp_path, "b_wsh.py", sends("h.VALUE", f"{path}import h, installed"))
    server = serve(start)

    def change() -> None:
        renamed_over(installed, "VALUE = 'two'\n")
        renamed_over(helper, "VALUE = 'two'\n")

    after(server, change, r"Reloaded .*changed /b$")
    assert (server.ask("/a"), server.ask("/b")) == ("one", "two")
    assert sorted(loads(server)) == ["a_wsh.py", "b_wsh.py", "b_wsh.py"]


def test_a_helper_that_fails_leaves_the_old_version_and_recovers(start: Start, tmp_path: Path) -> None:
    helper = write(tmp_path, "h.py", "VALUE = 'one'\n")
    write(tmp_path, "a_wsh.py", sends("h.VALUE", "import h"))
    lazy = "__import__('importlib').import_module('h').VALUE"
    write(tmp_path, "b_wsh.py", sends(lazy))
    server = serve(start)
    assert server.ask("/b") == "one"
    after(server, lambda: renamed_over(helper, "VALUE = nothing\n"), r"a_wsh\.py: .*NameError")
    assert server.ask("/a") == "one"
    assert server.ask("/b") == "one", "the last good version of the helper"
    after(server, lambda: renamed_over(helper, "VALUE = 'two'\n"), "Reloaded .*changed /a")
    assert server.ask("/a") == server.ask("/b") == "two"


def test_a_renewal_that_ends_late_does_not_undo_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "renewed_twice"
    helper = write(tmp_path, f"{name}.py", "VALUE = 'old'\n")
    monkeypatch.setitem(sys.modules, name, importlib.import_module(name))
    renewals = []
    for source in ("def (:\n", "VALUE = 'repaired'\n"):
        renamed_over(helper, source)
        renewals.append(Renewal([str(helper)]))
    for renewal in renewals:
        renewal.finish()
    assert importlib.import_module(name).VALUE == "repaired"


def test_a_helper_that_is_missing_may_come_later(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "a_wsh.py", sends("later.VALUE", "import later"))
    server = serve(start)
    assert server.status("/a") == 404
    after(server, lambda: write(tmp_path, "later.py", "VALUE = 1\n"), "Reloaded .*added /a$")
    assert server.ask("/a") == "1"


def test_the_same_size_in_the_same_second_is_another_helper(start: Start, tmp_path: Path) -> None:
    """Python's own cache of compiled modules takes such a file for the old one."""
    helper = write(tmp_path, "h.py", "VALUE = 0\n")
    write(tmp_path, "a_wsh.py", sends("h.VALUE", "import h"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    server = start("--log-level", "info", env=environment)
    for number in range(1, 6):
        after(server, lambda: helper.write_text(f"VALUE = {number}\n"), "Reloaded")  # noqa: B023
        assert server.ask("/a") == str(number)


def test_a_helper_that_changes_while_nobody_imports_it(start: Start, tmp_path: Path) -> None:
    helper = write(tmp_path, "h.py", "VALUE = 1\n")
    first = write(tmp_path, "a_wsh.py", sends("h.VALUE", "import h"))
    server = serve(start)
    after(server, first.unlink, "Reloaded .*removed /a$")
    renamed_over(helper, "VALUE = 2\n")
    after(server, lambda: write(tmp_path, "b_wsh.py", sends("h.VALUE", "import h")), "Reloaded .*added /b$")
    assert server.ask("/b") == "2"


def test_droppings_and_the_log_load_nothing(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "h.py", "")
    path = write(tmp_path, "a_wsh.py", sends("'a1'", "import h"))
    server = start("--log-level", "info", "-l", "own.log")
    for name in ["4913", ".#a_wsh.py", "a_wsh.py~", ".a_wsh.py.swp", "__pycache__/h.pyc", "own.log.1"]:
        write(tmp_path, name, "x")
    (tmp_path / ".#b_wsh.py").symlink_to("user@host.1:2")
    renamed_over(path, sends("'a2'", "import h"))
    wait_until(lambda: server.ask("/a") == "a2", "the reload behind all these")
    assert loads(server) == ["a_wsh.py", "a_wsh.py"]
    wait_until(lambda: "Reloaded" in (tmp_path / "own.log").read_text(), "its record")
    log = (tmp_path / "own.log").read_text()
    assert log.count("Reloaded") == 1
    assert "ERROR" not in log


KEEPING = handler(
    """
    while request.ws_stream.receive_message() is not None:
        clients.append(VERSION)
        request.ws_stream.send_message(repr((VERSION, clients)))
    """,
    before="""
    VERSION = 1
    wshost_keep = ("clients", "not_there")
    if "clients" not in globals():
        clients = []

    def wshost_load(module):
        print("load", module.VERSION)

    def wshost_unload(module):
        print("unload", module.VERSION)
        if module.VERSION == 2:
            raise KeyError("in the hook")
    """,
)


def test_a_module_keeps_what_it_names_and_hooks_are_called(start: Start, tmp_path: Path) -> None:
    path = write(tmp_path, "a_wsh.py", KEEPING)
    server = serve(start)
    with server.talk("/a") as old:
        old.send("?")
        assert old.recv(SECONDS) == "(1, [1])"
        after(server, lambda: renamed_over(path, KEEPING.replace("= 1", "= 2")), r"changed /a \(1 open conn")
        assert server.ask("/a") == "(2, [1, 2])"
        old.send("?")
        assert old.recv(SECONDS) == "(1, [1, 2, 1])"
    log = after(server, lambda: renamed_over(path, KEEPING.replace("= 1", "= 3")), "Reloaded .*changed /a")
    assert "wshost_unload failed" in log
    assert "KeyError: 'in the hook'" in log
    assert server.ask("/a") == "(3, [1, 2, 1, 3])"
    after(server, path.unlink, "Reloaded .*removed /a$")
    server.output.wait_for("unload 3")
    assert server.output.text.split("\n")[:6] == [
        "load 1",
        "unload 1",
        "load 2",
        "unload 2",
        "load 3",
        "unload 3",
    ]


def test_an_import_that_blocks_delays_only_its_own_update(start: Start, tmp_path: Path) -> None:
    gate, over = tmp_path / "gate", tmp_path / "over"
    write(tmp_path, "a_wsh.py", sends("'a1'"))
    write(tmp_path, "b_wsh.py", sends("'b1'"))
    server = serve(start)
    waits = f"import time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.005)"
    ends = f"{waits}\nopen({str(over)!r}, 'w').close()"
    log = after(server, lambda: write(tmp_path, "a_wsh.py", sends("'a2'", ends)), "takes long to load")
    assert "a_wsh.py" in log
    after(server, lambda: write(tmp_path, "b_wsh.py", sends("'b2'")), "Reloaded .*changed /b$")
    assert server.ask("/a") == "a1"
    assert server.ask("/b") == "b2"
    # Saved again meanwhile: loaded at once, and what the earlier load gives in the end counts no more.
    after(server, lambda: write(tmp_path, "a_wsh.py", sends("'a3'")), "Reloaded .*changed /a$")
    assert server.ask("/a") == "a3"
    gate.touch()
    wait_until(over.exists, "the end of the earlier load")
    after(server, lambda: write(tmp_path, "b_wsh.py", sends("'b3'")), "Reloaded .*changed /b$")
    assert server.ask("/a") == "a3"
    after(server, lambda: write(tmp_path, "a_wsh.py", sends("'a4'")), "Reloaded .*changed /a$")


def test_a_helper_that_blocks_delays_only_the_handlers_that_need_it(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    helper = write(tmp_path, "h.py", "VALUE = 'one'\n")
    write(tmp_path, "middle.py", "from h import VALUE\n")
    write(tmp_path, "a_wsh.py", sends("'a1 ' + h.VALUE", "import h"))
    write(tmp_path, "b_wsh.py", sends("'b1 ' + middle.VALUE", "import middle"))
    write(tmp_path, "c_wsh.py", sends("'c1'"))
    server = serve(start)
    waits = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.005)\n"
    after(server, lambda: renamed_over(helper, f"{waits}VALUE = 'two'\n"), r"h\.py takes long to load")
    after(server, lambda: write(tmp_path, "c_wsh.py", sends("'c2'")), "Reloaded .*changed /c$")
    # One that needs the helper waits for it, with its own change, too.
    write(tmp_path, "a_wsh.py", sends("'a2 ' + h.VALUE", "import h"))
    after(server, lambda: write(tmp_path, "c_wsh.py", sends("'c3'")), "Reloaded .*changed /c$")
    assert [server.ask(f"/{name}") for name in "abc"] == ["a1 one", "b1 one", "c3"]
    gate.touch()
    wait_until(lambda: server.ask("/a") == "a2 two", "the handler that imports the helper")
    wait_until(lambda: server.ask("/b") == "b1 two", "the one that imports it through another")
    assert loads(server).count("a_wsh.py") == 2, "never with the old helper"


def test_without_a_watcher_a_late_load_is_published_too(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    write(tmp_path, "a_wsh.py", sends("'a1'"))
    server = serve(start, "--no-reload")
    waits = f"import time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.005)"
    write(tmp_path, "a_wsh.py", sends("'a2'", waits))
    after(server, lambda: server.process.send_signal(1), "takes long to load")
    gate.touch()
    wait_until(lambda: server.ask("/a") == "a2", "the version that took long")


def test_old_modules_are_collected_when_their_connections_end(start: Start, tmp_path: Path) -> None:
    write(
        tmp_path,
        "count_wsh.py",
        handler(
            """
            gc.collect()
            marks = [found for found in gc.get_objects() if type(found).__name__ == "Mark"]
            request.ws_stream.send_message(str(len(marks)))
            request.ws_stream.receive_message()
            """,
            before="import gc",
        ),
    )
    marked = "class Mark: pass\nmark = Mark()\n"
    path = write(tmp_path, "a_wsh.py", sends("'x'", marked))
    server = serve(start)
    with server.talk("/a") as first:
        first.send("?")
        first.recv(SECONDS)
        for number in range(5):
            renewed = sends(f"'x{number}'", marked)
            after(server, lambda: renamed_over(path, renewed), "Reloaded .*changed /a")  # noqa: B023
            assert server.ask("/a") == f"x{number}"
        wait_until(
            lambda: server.ask("/count", None) == "2", "the current version and that of the connection"
        )
    wait_until(lambda: server.ask("/count", None) == "1", "the current version alone")


def test_poll(start: Start, tmp_path: Path) -> None:
    path = write(tmp_path, "a_wsh.py", sends("'a1'"))
    server = serve(start, "--reload-poll", "0.02")
    assert not any("inotify" in target for target in server.descriptors())
    after(server, lambda: renamed_over(path, sends("'a2'")), "Reloaded .*changed /a$")
    assert server.ask("/a") == "a2"


def test_polls_when_there_are_not_enough_watches(start: Start, tmp_path: Path) -> None:
    """In a user namespace with a limit of its own."""
    limit = "echo 3 > /proc/sys/user/max_inotify_watches"
    inside = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    try:
        possible = subprocess.run([*inside, limit], capture_output=True).returncode == 0
    except OSError:
        possible = False
    if not possible:
        pytest.skip("user namespaces are not to be had here")
    path = write(tmp_path, "a_wsh.py", sends("'a1'"))
    for number in range(5):
        write(tmp_path, f"d{number}/b_wsh.py", sends("'b1'"))
    server = start("--log-level", "info", command=[*inside, limit + '; exec "$@"', "sh", *program()])
    log = server.log.wait_for(r"looked at every 1 s instead of watched: .*max_user_watches")
    assert log
    after(server, lambda: renamed_over(path, sends("'a2'")), "Reloaded .*changed /a$")
    assert server.ask("/a") == "a2"
    assert server.log.text.count("instead of watched") == 1


def test_the_chat_keeps_its_clients_when_it_is_edited(start: Start, tmp_path: Path) -> None:
    source = (REPOSITORY / "handlers" / "chat_wsh.py").read_text()
    path = write(tmp_path, "chat_wsh.py", source)
    server = serve(start)
    with server.talk("/chat") as first:
        assert first.recv(SECONDS) == "guest 1 came in"
        renewed = source.replace("came in", "is here")
        after(server, lambda: renamed_over(path, renewed), r"changed /chat \(1 open connection")
        with server.talk("/chat") as second:
            assert second.recv(SECONDS) == first.recv(SECONDS) == "guest 2 is here"
            first.send("hello")
            assert second.recv(SECONDS) == "guest 1: hello"


def test_a_child_that_is_forked_while_helpers_are_renewed_renews_its_own() -> None:
    with Renewal._lock:
        child = os.fork()
        if child == 0:
            try:
                # Ended if it waits for a lock that nobody lets go of.
                signal.alarm(int(SECONDS))
                Renewal([]).finish()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
