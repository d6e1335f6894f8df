"""Saving handler files while the server runs."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import SECONDS, Server, Start, handler, wait_until, write

Save = Callable[[Path, str], None]


def marked(mark: str) -> str:
    """A handler that puts `mark` before each message."""
    return handler(
        """
        while (message := request.ws_stream.receive_message()) is not None:
            request.ws_stream.send_message(f"{MARK} {message}")
        """,
        before=f"MARK = {mark!r}",
    )


def in_place(path: Path, source: str) -> None:
    path.write_text(source)


def renamed_over(path: Path, source: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(source)
    os.replace(fresh, path)


def after(server: Server, change: Callable[[], object], report: str) -> str:
    """Makes a change and waits for the line in the log that reports it; gives the log since the change."""
    before = len(server.log.text)
    change()
    server.log.wait_for(report, before)
    return server.log.text[before:]


@pytest.mark.parametrize("save", [in_place, renamed_over])
def test_the_next_connection_runs_what_was_saved(start: Start, tmp_path: Path, way: str, save: Save) -> None:
    path = write(tmp_path, "a_wsh.py", marked("one"))
    server = start("--log-level", "info", way=way)
    with server.talk("/a") as old:
        old.send("before")
        assert old.recv(SECONDS) == "one before"
        after(server, lambda: save(path, marked("two")), r"changed /a \(1 open connection on old versions\)$")
        assert server.ask("/a", "after") == "two after"
        old.send("still")
        assert old.recv(SECONDS) == "one still"


def test_a_new_file_is_served(start: Start, tmp_path: Path, way: str) -> None:
    server = start("--log-level", "info", way=way)
    assert server.status("/new/a") == 404
    after(server, lambda: write(tmp_path, "new/a_wsh.py", marked("new")), r"Reloaded .*added /new/a$")
    assert server.ask("/new/a", "x") == "new x"


def test_a_deleted_file_is_gone_for_new_connections(start: Start, tmp_path: Path, way: str) -> None:
    path = write(tmp_path, "a_wsh.py", marked("one"))
    server = start("--log-level", "info", way=way)
    with server.talk("/a") as old:
        after(server, path.unlink, r"removed /a \(1 open connection on old versions\)$")
        assert server.status("/a") == 404
        old.send("still")
        assert old.recv(SECONDS) == "one still"


BROKEN = {
    "raises": ("import os\n\n\nos.nothing\n", "line 4, in <module>", "    os.nothing"),
    "syntax": ("x = 1\ndef f(:\n", "line 2", "    def f(:"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_does_not_load_keeps_its_last_version(
    start: Start, tmp_path: Path, way: str, kind: str
) -> None:
    path = write(tmp_path, "a_wsh.py", marked("one"))
    server = start("--log-level", "info", way=way)
    source, line, text = BROKEN[kind]
    log = after(server, lambda: renamed_over(path, source), r"^  (Attribute|Syntax)Error: ")
    assert f'File "{path}", {line}' in log
    assert text in log
    assert log.count("a_wsh.py: ") == 1, "reported once"
    assert server.ask("/a", "x") == "one x"
    after(server, lambda: renamed_over(path, marked("two")), r"Reloaded .*changed /a$")
    assert server.ask("/a", "x") == "two x"


def test_a_file_without_its_functions_keeps_its_last_version(start: Start, tmp_path: Path) -> None:
    path = write(tmp_path, "a_wsh.py", marked("one"))
    server = start()
    after(server, lambda: renamed_over(path, "x = 1\n"), r"a_wsh\.py: .* is not defined\.")
    assert server.ask("/a", "x") == "one x"


def test_a_file_that_never_loaded_is_served_once_it_is_repaired(start: Start, tmp_path: Path) -> None:
    path = write(tmp_path, "a_wsh.py", "import not_there\n")
    server = start("--log-level", "info")
    assert server.status("/a") == 404
    after(server, lambda: renamed_over(path, marked("one")), r"Reloaded .*added /a$")
    assert server.ask("/a", "x") == "one x"


def test_only_the_saved_file_runs_again(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "a_wsh.py", handler("pass", before="print('a ran')"))
    path = write(tmp_path, "b_wsh.py", handler("pass", before="print('b ran')"))
    server = start("--log-level", "info")
    after(server, lambda: renamed_over(path, handler("pass", before="print('b again')")), "Reloaded")
    server.output.wait_for("b again")
    assert sorted(server.output.text.split("\n")) == ["", "a ran", "b again", "b ran"]


def test_tracebacks_show_the_lines_of_the_version_that_runs(start: Start, tmp_path: Path) -> None:
    path = write(tmp_path, "a_wsh.py", handler("raise KeyError('old')"))
    server = start("--log-level", "info")
    with server.raw("/a") as client:
        client.rest()
    server.log.wait_for(r"^      raise KeyError\('old'\)$")
    source = handler("raise ValueError('new')", before="# one line more")
    after(server, lambda: renamed_over(path, source), "Reloaded")
    with server.raw("/a") as client:
        client.rest()
    line = 1 + source.split("\n").index("    raise ValueError('new')")
    server.log.wait_for(rf'File "{path}", line {line}, in web_socket_transfer_data\n      raise ValueError')


def test_what_is_saved_in_steps_is_loaded_once(start: Start, tmp_path: Path) -> None:
    path = write(tmp_path, "a_wsh.py", marked("one"))
    other = write(tmp_path, "b_wsh.py", marked("one"))
    # So long that a busy machine does not pause for longer between the steps.
    server = start("--log-level", "info", "--reload-delay", "3000")
    source = marked("two")
    with path.open("w") as file:
        file.write(source[: source.index("while")])
        file.flush()
        other.unlink()
        # Longer than a reload without the delay takes.
        for _ in range(3):
            assert server.ask("/a", "x") == server.ask("/b", "x") == "one x"
        file.write(source[source.index("while") :])
    other.write_text(marked("two"))
    server.log.wait_for(r"Reloaded .*changed /a, /b$")
    assert server.ask("/a", "x") == server.ask("/b", "x") == "two x"
    assert server.log.text.count("wshost.reload") == 1, "one line, no failure, nothing removed or added"


def test_sighup_looks_at_everything(start: Start, tmp_path: Path) -> None:
    path = write(tmp_path, "a_wsh.py", marked("one"))
    write(tmp_path, "b_wsh.py", marked("one")).rename(tmp_path / "b.old")
    server = start("--log-level", "info", "--no-reload")

    def change() -> None:
        renamed_over(path, marked("two"))
        write(tmp_path, "new/c_wsh.py", marked("new"))
        (tmp_path / "b.old").rename(tmp_path / "b_wsh.py")
        server.process.send_signal(signal.SIGHUP)

    after(server, change, r"Reloaded in \d+ ms: changed /a; added /b, /new/c$")
    assert server.ask("/a", "x") == "two x"


def test_the_map_file_is_read_again(start: Start, tmp_path: Path) -> None:
    write(tmp_path, "a_wsh.py", marked("one"))
    names = write(tmp_path, "names", "/b /a\n")
    server = start("-m", "names", "--log-level", "info")
    assert server.ask("/b", "x") == "one x"
    after(server, lambda: renamed_over(names, "/c /a\n"), "Reloaded .*added /c; removed /b$")
    assert server.ask("/c", "x") == "one x"
    assert server.status("/b") == 404


def test_without_reload_nothing_changes(start: Start, tmp_path: Path, way: str) -> None:
    path = write(tmp_path, "a_wsh.py", marked("one"))
    watching = start(way=way)
    fixed = start("--no-reload", way=way)
    renamed_over(path, marked("two"))
    wait_until(lambda: watching.ask("/a", "x") == "two x", "the reload by the server beside it")
    assert fixed.ask("/a", "x") == "one x"
    assert any("inotify" in target for target in watching.descriptors())
    assert not any("inotify" in target for target in fixed.descriptors())
