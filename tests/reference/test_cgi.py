"""CGI scripts: which requests run one, what it is told, and what becomes of its output."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from deviations import deviates
from pair import Pair, Pairs
from servers import HANDLERS, Tree
from wire import Script, Transcript, eof, half_close, send

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 15), reason="the oracle's http.server has no CGI on Python 3.15 and newer"
)

# Shell scripts by their paths below the document root.
_SCRIPTS = {
    "cgi/hello": r"printf 'Content-Type: text/plain\nX-A:  b\n\nhello\n'",
    "cgi/crlf": r"printf 'Content-Type: text/plain\r\nX-A: b\r\n\r\nhello\n'",
    # The variables of CGI, the arguments, and where and as whom it runs.
    "cgi/told": r"""printf 'Content-Type: text/plain\r\n\r\n'
        env | grep -E '^(AUTH|CONTENT|GATEWAY|HTTP|PATH|QUERY|REMOTE|REQUEST|SCRIPT|SERVER)_[^S]' | sort
        echo "$# [$1] $0"; pwd; id -u""",
    "cgi/deep/one": r"""printf '\r\n'; echo "$SCRIPT_NAME" "$PATH_INFO" """,
    "cgi/body": r"""printf '\r\n'; head -c "${CONTENT_LENGTH:-0}" """,
    "cgi/everything": r"printf '\r\n'; cat",
    "cgi/status": r"printf 'Status: 404 Nope\r\nA: b\r\n\r\nno'",
    "cgi/away": r"printf 'Location: http://other/\r\n\r\n'",
    "cgi/here": r"printf 'Location: /plain.txt\r\n\r\n'",
    "cgi/silent": "exit 0",
    "cgi/failed": r"printf 'A: b\r\n\r\nhalf'; exit 3",
    "cgi/noheader": "echo hello",
    "cgi/group": r"printf '\r\n'; id -g",
    "cgi/stderr": r"printf '\r\n'; echo complaint >&2",
    "other/script": r"printf '\r\n'; echo not me",
    "top": r"printf '\r\n'; echo top",
}


@pytest.fixture(scope="session")
def scripts(pairs: Pairs) -> Iterator[Pair]:
    """Both servers with scripts in `/cgi`."""
    # Not below pytest's folder: scripts run as nobody where the tests run as root, and must get there.
    documents = Path(tempfile.mkdtemp())
    documents.chmod(0o755)
    for name, lines in _SCRIPTS.items():
        path = documents / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
    (documents / "plain.txt").write_text("plain\n")
    (documents / "cgi" / "plain").write_text("not executable\n")
    yield pairs(Tree(HANDLERS / "broken", documents, ("-x", "/cgi,other/")))
    shutil.rmtree(documents)


def _ask(target: str, headers: str = "", method: str = "GET", body: bytes = b"") -> Script:
    return [send(f"{method} {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n".encode("latin-1") + body), eof()]


def _said(transcript: Transcript) -> tuple[bytes, bytes]:
    """Head, without what is about one connection only, and body."""
    (event,) = transcript
    assert event.what == "eof: eof", event
    head, end, body = event.data.partition(b"\r\n\r\n")
    # The deviation `remote-address`, and the one thing that two servers cannot have in common.
    body = re.sub(rb"(?<=REMOTE_ADDR=)::ffff:|(?<=SERVER_PORT=)\d+", b"", body)
    return head + end, body


_TELLING = (
    "User-Agent: me\r\nAccept: a\r\nAccept: b\r\nCookie: c\r\nCookie: d\r\nReferer: r\r\n"
    "Authorization: Basic dGVzdDp0ZXN0\r\nProxy: evil\r\nX-A: evil\r\n"
)
_RUN = [
    ("/cgi/crlf", ""),
    ("/cgi/told?a+b%20c", _TELLING),
    ("/cgi/told?a=b", "Authorization: Digest x\r\nContent-Type: a/b; c=d\r\n"),
    ("/cgi/told?a/b?c", "Content-Type: \r\nUser-Agent: \r\nAuthorization: Basic ?\r\n"),
    ("/cgi/told", "User-Agent: \u00e9\r\nCookie:\r\nContent-Length: 0\r\n"),
    ("/cgi/told?#a", ""),
    ("/cgi/crlf#a", ""),
    ("/cgi/deep/one", ""),
    ("/cgi//deep/./one", ""),
    ("/%63gi/deep/one", ""),
    ("ws://h/cgi/crlf", ""),
]


@pytest.mark.parametrize(("target", "headers"), _RUN)
def test_scripts(scripts: Pair, target: str, headers: str) -> None:
    """Every byte, so also every variable."""
    reference, subject = map(_said, scripts.run(_ask(target, headers)))
    assert reference[0].startswith(b"HTTP/1.0 200 Script output follows\r\n")
    assert subject == reference


_NO_SCRIPTS = (
    "/cgi/plain", "/cgi/none", "/cgi", "/cgi/deep", "/cgi/hello/", "/cgi/hello/more", "/top", "/other/script",
    "/CGI/hello", "http://h/cgi/hello",
)  # fmt: skip


@pytest.mark.parametrize("target", _NO_SCRIPTS)
def test_what_is_no_script(scripts: Pair, target: str) -> None:
    """Not executable, not there, not below a folder of scripts: files, or nothing."""
    reference, subject = map(_said, scripts.run(_ask(target, "Connection: close\r\n")))
    assert b"Script output follows" not in reference[0]
    assert subject[0].split(b" ")[1] == reference[0].split(b" ")[1]
    assert subject[1] == reference[1]


@pytest.mark.parametrize(
    ("target", "method", "headers", "body"),
    [
        ("/cgi/body", "POST", "Content-Length: 5\r\n", b"hello"),
        ("/cgi/body", "POST", "", b""),
        ("/cgi/body", "GET", "Content-Length: 5\r\n", b"hello"),
        ("/cgi/plain", "POST", "Content-Length: 5\r\n", b"hello"),
        ("/other/script", "POST", "Content-Length: 5\r\n", b"hello"),
        ("/cgi/hello", "PUT", "", b""),
    ],
)
def test_methods_and_bodies(scripts: Pair, target: str, method: str, headers: str, body: bytes) -> None:
    """GET and POST are for scripts, and what is posted reaches them."""
    reference, subject = map(_said, scripts.run(_ask(target, headers, method, body)))
    assert subject == reference


def test_the_body_is_as_long_as_it_says(scripts: Pair) -> None:
    """The reference's script has the connection itself on its stdin."""
    deviates("cgi-body")
    script = _ask("/cgi/everything", "Content-Length: 3\r\n", "POST", b"abcdef")
    assert isinstance(script, list)
    reference, subject = map(_said, scripts.run([script[0], half_close(), eof()]))
    assert reference[1] == b"abcdef"
    assert subject[1] == (b"abcdef" if servers.SELF else b"abc")


def test_lines_of_a_header_end_as_on_the_wire(scripts: Pair) -> None:
    """Scripts write line feeds."""
    deviates("cgi-output")
    reference, subject = (event.data for (event,) in scripts.run(_ask("/cgi/hello")))
    assert reference.endswith(b"\r\nContent-Type: text/plain\nX-A:  b\n\nhello\n")
    if not servers.SELF:
        assert subject.endswith(b"\r\nContent-Type: text/plain\r\nX-A: b\r\n\r\nhello\n")


@pytest.mark.parametrize("request_line", ["HEAD /cgi/crlf HTTP/1.1", "GET /cgi/crlf"])
def test_heads_and_bodies_alone(scripts: Pair, request_line: str) -> None:
    """`HEAD` gets no body, and HTTP/0.9 no head."""
    deviates("cgi-output")
    reference, subject = (
        event.data for (event,) in scripts.run([send(f"{request_line}\r\nHost: h\r\n\r\n".encode()), eof()])
    )
    assert reference.endswith(b"Content-Type: text/plain\r\nX-A: b\r\n\r\nhello\n")
    if not servers.SELF:
        end = b"\r\nX-A: b\r\n\r\n" if request_line.startswith("HEAD") else b"hello\n"
        assert subject.endswith(end)
        assert (b"hello" in subject) != (b"X-A" in subject)


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/cgi/status", b"404 Nope", b"no"),
        ("/cgi/away", b"302 Found", b""),
        ("/cgi/here", b"200 OK", b"plain\n"),
    ],
)
def test_status_and_location(scripts: Pair, target: str, status: bytes, body: bytes) -> None:
    """What a script says about the response counts."""
    deviates("cgi-output")
    reference, subject = map(_said, scripts.run(_ask(target, "Connection: close\r\n")))
    assert reference[0].startswith(b"HTTP/1.0 200 Script output follows\r\n")
    if not servers.SELF:
        assert subject[0].split(b"\r\n")[0].split(b" ", 1)[1] == status
        assert b"Status:" not in subject[0]
        assert subject[1] == body


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("/cgi/silent", "ended without a header"),
        ("/cgi/failed", "CGI script exit code 3"),
        ("/cgi/noheader", "no header field"),
    ],
)
def test_failures(scripts: Pair, target: str, line: str) -> None:
    """A script that fails is a bad gateway, and the log says why."""
    deviates("cgi-failure")
    reference, subject = scripts.run(_ask(target))
    assert reference[0].data.startswith(b"HTTP/1.0 200 Script output follows\r\n")
    if not servers.SELF:
        assert subject[0].data.startswith(b"HTTP/1.0 502 Bad Gateway\r\n")
        assert scripts.subject.writes(re.escape(line))


@pytest.mark.parametrize("target", ["/cgi/crlf?1..2", "/cgi/deep/../crlf"])
def test_dots(scripts: Pair, target: str) -> None:
    """The reference shows the source of a script whose query has two dots."""
    deviates("cgi-dots")
    reference, subject = map(_said, scripts.run(_ask(target)))
    assert reference[1].startswith(b"#!/bin/sh")
    if not servers.SELF:
        assert subject[1] == b"hello\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_group(scripts: Pair) -> None:
    """Scripts of a server that runs as root have neither its user nor its group."""
    deviates("cgi-group")
    reference, subject = map(_said, scripts.run(_ask("/cgi/group")))
    assert reference[1] == b"0\n"
    if not servers.SELF:
        assert subject[1].strip().isdigit()
        assert subject[1] != b"0\n"


def test_stderr(scripts: Pair) -> None:
    """What a script complains about is in both places where people look; with us it says whose it is."""
    deviates("cgi-stderr")
    reference, subject = map(_said, scripts.run(_ask("/cgi/stderr")))
    assert subject == reference
    assert re.search(r"^complaint$", scripts.reference.written(), re.MULTILINE)
    if not servers.SELF:
        # The answer does not wait for what the script complains about.
        assert scripts.subject.writes(r"\] .*CGI script /cgi/stderr: complaint$")
