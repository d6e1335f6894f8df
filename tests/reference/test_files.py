"""Requests for what is no handler: files under the document root."""

from __future__ import annotations

import os
import re

import pytest
import servers
from deviations import deviates
from pair import Pair, Pairs
from servers import HANDLERS, Tree
from wire import Transcript, eof, head, read, send

_TIME = 1_000_000_000


@pytest.fixture(scope="session")
def files(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both servers with a document root that has some of everything."""
    root = tmp_path_factory.mktemp("files")
    documents = root / "documents"
    (documents / "indexed").mkdir(parents=True)
    (documents / "listed" / "below").mkdir(parents=True)
    for name, content in {
        "plain.txt": b"plain\n",
        "page.html": b"<p>page</p>",
        "script.js": b"0",
        "style.css": b"*{}",
        "data.json": b"{}",
        "picture.png": b"\x89PNG",
        "binary.bin": bytes(range(256)),
        "no_type": b"x",
        "empty.txt": b"",
        "with space.txt": b"space",
        "umlaut-ä.txt": b"umlaut",
        "indexed/index.html": b"index",
        "listed/one.txt": b"1",
        "listed/two & three.txt": b"23",
        "handler_wsh.py": b"# served as a file: the handlers are elsewhere\n",
        "large.bin": os.urandom(300_000),
    }.items():
        (documents / name).write_bytes(content)
    (root / "secret.txt").write_bytes(b"secret")
    for path in documents.rglob("*"):
        os.utime(path, (_TIME, _TIME))
    return pairs(Tree(HANDLERS / "broken", documents))


def _get(target: str, method: str = "GET", headers: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n".encode()


def _response(transcript: Transcript) -> tuple[int, dict[str, str], bytes]:
    """Status code, header fields by their lower-case names, body."""
    (event,) = transcript
    assert event.what == "eof: eof", event
    top, _, body = event.data.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split(" ")[1]), {name.lower(): value for name, value in fields.items()}, body


_SAME = ("content-type", "content-length", "last-modified", "location")
_FILES = (
    "/plain.txt", "/page.html", "/script.js", "/style.css", "/data.json", "/picture.png", "/binary.bin",
    "/no_type", "/empty.txt", "/with%20space.txt", "/umlaut-%C3%A4.txt", "/indexed/", "/indexed/index.html",
    "/plain.txt?query", "/./plain.txt", "/listed/../plain.txt", "/%70lain.txt", "/handler_wsh.py",
    "/large.bin", "//plain.txt",
)  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", _FILES)
def test_files(files: Pair, target: str, method: str) -> None:
    """The same status, type, length, time and bytes."""
    reference, subject = map(_response, files.run([send(_get(target, method)), eof()]))
    assert reference[0] == 200
    assert subject[0] == reference[0]
    assert subject[2] == reference[2]
    for name in _SAME:
        assert subject[1].get(name) == reference[1].get(name), name


_NOT_FOUND = ("/none", "/none/", "/none.html", "/plain.txt/", "/plain.txt/x", "/%", "/ok_wsh.py", "/raises")
_OUTSIDE = ("/%5c../secret.txt", "/....//secret.txt", "/listed/..%5c../secret.txt")
_REFUSED = ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/listed/../../secret.txt", "/%00")


@pytest.mark.parametrize("target", [*_NOT_FOUND, *_OUTSIDE])
def test_what_is_not_there(files: Pair, target: str) -> None:
    """404, and no way out of the root."""
    reference, subject = map(_response, files.run([send(_get(target)), eof()]))
    assert b"secret" not in (reference[2], subject[2])
    assert subject[0] == reference[0]


@pytest.mark.parametrize("target", _REFUSED)
def test_targets_outside_of_the_root(files: Pair, target: str) -> None:
    """The reference's code fails on them, and so says nothing."""
    deviates("outside-target")
    reference, subject = files.run([send(_get(target)), eof()])
    assert (reference[0].what, reference[0].data) == ("eof: eof", b"")
    if not servers.SELF:
        assert _response(subject)[0] in (400, 404)


@pytest.mark.parametrize("target", ["/indexed", "/listed", "/listed?query"])
def test_redirects_to_the_folder(files: Pair, target: str) -> None:
    """A folder without its slash."""
    reference, subject = map(_response, files.run([send(_get(target)), eof()]))
    assert (subject[0], subject[1].get("location")) == (reference[0], reference[1].get("location"))


@pytest.mark.parametrize("target", ["/", "/listed/", "/listed/below/"])
def test_listings(files: Pair, target: str) -> None:
    """A folder without an index lists the same entries; wshost adds the way up."""
    deviates("listing")
    reference, subject = map(_response, files.run([send(_get(target)), eof()]))
    links = [set(re.findall(rb'href="([^"]*)"', response[2])) for response in (reference, subject)]
    assert subject[0] == reference[0]
    up = set() if servers.SELF or target == "/" else {b"../"}
    assert links[1] == links[0] | up


@pytest.mark.parametrize(
    "date", ["Sun, 09 Sep 2001 01:46:40 GMT", "Sun, 09 Sep 2001 01:46:39 GMT", "nonsense"]
)
def test_if_modified_since(files: Pair, date: str) -> None:
    """A file that did not change is not sent again."""
    script = [send(_get("/plain.txt", headers=f"If-Modified-Since: {date}\r\n")), eof()]
    reference, subject = map(_response, files.run(script))
    assert (subject[0], subject[2]) == (reference[0], reference[2])


@pytest.mark.parametrize("target", ["/plain.txt", "/none"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "XYZ"])
def test_other_methods(files: Pair, method: str, target: str) -> None:
    """Only GET and HEAD are for files."""
    for transcript in files.run([send(_get(target, method)), eof()]):
        assert _response(transcript)[0] in (405, 501)


def test_upgrade_request_for_a_file(files: Pair) -> None:
    """A path without a handler is a file for WebSocket clients, too."""
    upgrade = (
        b"GET /plain.txt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n"
    )
    reference, subject = map(_response, files.run([send(upgrade), eof()]))
    assert (subject[0], subject[2]) == (reference[0], reference[2])


def test_connection_stays_open(files: Pair) -> None:
    """HTTP/1.1 to the client that speaks it: several files on one connection."""
    deviates("files-http-1-1")
    get = b"GET /plain.txt HTTP/1.1\r\nHost: h\r\n\r\n"
    reference, subject = files.run([send(get), head(), read(6), send(get), head(), read(6)])
    assert reference[0].data.startswith(b"HTTP/1.0 200 ")
    assert [event.what for event in reference] == ["head", "read", "head: eof"]
    if not servers.SELF:
        assert [event.what for event in subject] == ["head", "read", "head", "read"]
        assert [event.data for event in subject[1::2]] == [b"plain\n"] * 2
        assert all(event.data.startswith(b"HTTP/1.1 200 ") for event in subject[::2])


def test_http_1_0(files: Pair) -> None:
    """A client of HTTP/1.0 gets its file and the end of the connection."""
    reference, subject = map(_response, files.run([send(b"GET /plain.txt HTTP/1.0\r\n\r\n"), eof()]))
    assert (subject[0], subject[2]) == (reference[0], reference[2])


@pytest.mark.parametrize("lines", [b"\r\n", b"\n\r\n"])
def test_empty_lines_before_a_request(files: Pair, lines: bytes) -> None:
    """Some clients send one more line end behind a body."""
    deviates("empty-lines")
    reference, subject = files.run([send(lines + _get("/plain.txt")), eof()])
    assert (reference[0].what, reference[0].data) == ("eof: eof", b"")
    if not servers.SELF:
        assert (_response(subject)[0], _response(subject)[2]) == (200, b"plain\n")


@pytest.mark.parametrize("fields", ["", "Host: a\r\nHost: b\r\n", "Host: a/b\r\n"])
def test_host_fields(files: Pair, fields: str) -> None:
    """One host, in requests of HTTP/1.1 for files."""
    deviates("host-field")
    request = f"GET /plain.txt HTTP/1.1\r\nConnection: close\r\n{fields}\r\n".encode()
    reference, subject = map(_response, files.run([send(request), eof()]))
    assert reference[0] == 200
    assert subject[0] == (200 if servers.SELF else 400)
