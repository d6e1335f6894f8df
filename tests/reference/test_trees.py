"""Which file serves which resource, and which does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import servers
from deviations import Deviation, deviates
from frames import Compressor, close, more, text
from oracle import Oracle
from pair import Pairs, Scenario
from servers import StartError, Tree
from wire import Client, deflate, eof, goodbye, hello, receive, refused, send


def _handler(path: Path, word: str) -> None:
    """A handler file that says `word`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "def web_socket_do_extra_handshake(request):\n    pass\n\n\n"
        f"def web_socket_transfer_data(request):\n    request.ws_stream.send_message({word!r})\n"
    )


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Handlers in folders, links to handlers outside, and a map file."""
    home = tmp_path_factory.mktemp("tree")
    root = home / "handlers"
    for name in ("top", "a/b/deep", "scan/inside", "with space", "dotted.name", "UPPER", "_wsh.py/odd"):
        _handler(root / f"{name}_wsh.py", name)
    _handler(root / "_wsh.py" / "_wsh.py", "only the suffix")
    _handler(root / "capital_WSH.py", "capital")
    _handler(root / "scan" / "no_handler.py", "no handler")
    _handler(home / "outside" / "linked_wsh.py", "linked")
    _handler(home / "handlers-old" / "sibling_wsh.py", "sibling")
    (root / "link_wsh.py").symlink_to(home / "outside" / "linked_wsh.py")
    (root / "sibling_wsh.py").symlink_to(home / "handlers-old" / "sibling_wsh.py")
    (root / "inner_wsh.py").symlink_to(root / "top_wsh.py")
    (root / "folder").symlink_to(home / "outside")
    (home / "map.txt").write_text(
        "# comment\n\n/alias /top\n/deep/alias /a/b/deep\n/missing /not/there\nonly-one\n"
        "/three words here\n/again /alias\n/top /a/b/deep\n  /indented /top\n"
    )
    return root


_RESOURCES = (
    "/top", "/a/b/deep", "/scan/inside", "/with%20space", "/with space", "/dotted.name", "/UPPER", "/upper",
    "/_wsh.py/odd", "/_wsh.py/", "/capital", "/scan/no_handler", "/link", "/inner", "/folder/linked", "/top/",
    "/top?q", "/alias", "/deep/alias", "/missing", "/again", "/indented", "/a/b", "/", "top", "/a//b/deep",
)  # fmt: skip
_OPTIONS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "outside": ("--allow-handlers-outside-root-dir",),
    "outside-underscores": ("--allow_handlers_outside_root_dir",),
    "scan": ("-s", "{root}/scan"),
    "scan-deep": ("--scan_dir={root}/a/b",),
    "map": ("-m", "{home}/map.txt"),
}


@pytest.mark.parametrize("kind", _OPTIONS)
def test_resources(pairs: Pairs, root: Path, documents: Path, kind: str) -> None:
    """The same resources have handlers, the same have none."""
    options = tuple(option.format(root=root, home=root.parent) for option in _OPTIONS[kind])
    pair = pairs(Tree(root, documents, options))
    found = []
    for resource in _RESOURCES:
        reference, subject = pair.run([*hello(resource), receive()])
        status = reference[0].data.split(b" ")[1]
        assert subject[0].data.split(b" ")[1] == status, resource
        assert status != b"101" or subject[1] == reference[1], resource
        found.append(status)
    assert b"101" in found
    assert b"404" in found


def test_sibling_folder_is_outside(pairs: Pairs, root: Path, documents: Path) -> None:
    """A folder whose name starts like the root's is not inside of it."""
    deviates("root-by-component")
    reference, subject = pairs(Tree(root, documents)).run(refused("/sibling"))
    assert b" 101 " in reference[0].data
    if not servers.SELF:
        assert b" 404 " in subject[0].data


def test_relative_handlers(pairs: Pairs, root: Path) -> None:
    """A relative `-w` counts from the document root."""
    pair = pairs(Tree(Path("handlers"), root.parent))
    pair.check(Scenario("relative", [hello("/top"), receive(2), goodbye()]))


_UNREADABLE = ("no-text", "dead-link")


@pytest.mark.parametrize("kind", _UNREADABLE)
def test_unreadable_handler(oracle: Oracle, tmp_path: Path, kind: str) -> None:
    """A handler file that cannot be read stops the reference; wshost warns and serves the others."""
    deviates("unreadable-handler")
    handlers = tmp_path / "handlers"
    _handler(handlers / "ok_wsh.py", "ok")
    if kind == "no-text":
        (handlers / "bad_wsh.py").write_bytes(b"# caf\xe9\n")
    else:
        (handlers / "bad_wsh.py").symlink_to(handlers / "nowhere_wsh.py")
    tree = Tree(handlers, tmp_path, ("--handler-encoding", "utf-8"))
    with pytest.raises(StartError):
        servers.start_reference(oracle, tree).stop()
    if servers.SELF:
        return
    server = servers.start_subject(oracle, tree)
    try:
        assert server.writes(r"bad_wsh\.py"), server.written()
        assert Client(server).run([hello("/ok"), receive()])[1].data == b"\x81\x02ok"
    finally:
        server.stop()


_TOO_BIG: dict[str, bytes] = {
    "plain": text("x" * 1001),
    "fragments": text("x" * 1000, fin=False) + more(b"x", fin=True),
    "inflated": Compressor().text("x" * 1001),
}


@pytest.mark.parametrize(
    "spelling", [("--max-message-size", "1000"), ("--max_message_size=1000",)], ids=["-", "_"]
)
@pytest.mark.parametrize("kind", _TOO_BIG)
def test_message_size(pairs: Pairs, documents: Path, kind: str, spelling: tuple[str, ...]) -> None:
    """A message above the limit, inflated or not, ends the connection with 1009; at the limit it fits."""
    pair = pairs(Tree(servers.HANDLERS / "contract", documents, wshost_options=spelling))
    offer = deflate() if kind == "inflated" else None
    path = "/echo?quiet&plain"
    deviation = Deviation(
        "message-size", reference=b"\x81\x0a1001 False\x88\x02\x03\xe8", wshost=b"\x88\x02\x03\xf1"
    )
    pair.check(Scenario(kind, [hello(path, offer), send(_TOO_BIG[kind] + close()), eof()], deviation))
    fits = Compressor().text("x" * 1000) if offer else text("x" * 1000)
    pair.check(Scenario("fits", [hello(path, offer), send(fits + close()), eof()]))


def test_python_2(pairs: Pairs, tmp_path: Path) -> None:
    """A handler that is still Python 2 is converted; this one refuses, which the reference never gets to."""
    deviates("python-2")
    (tmp_path / "old_wsh.py").write_text(
        "def web_socket_do_extra_handshake(request):\n    print 'Python 2'\n    raise ValueError\n\n\n"
        "def web_socket_transfer_data(request):\n    pass\n"
    )
    reference, subject = pairs(Tree(tmp_path, tmp_path)).run(refused("/old"))
    assert b" 404 " in reference[0].data.split(b"\r\n")[0]
    if not servers.SELF:
        assert b" 403 " in subject[0].data.split(b"\r\n")[0]
