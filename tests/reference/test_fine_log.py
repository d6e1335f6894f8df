"""`--log-level fine`: the frames that a server receives, as lines of its log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import servers
from deviations import deviates
from frames import MASK, binary, close, more, ping, text
from pair import Pair, Pairs
from servers import HANDLERS, Server, Tree
from wire import Client, eof, hello, receive, send

# No frame is empty: the oracle divides by the time that it takes to unmask it.
SESSION = [
    hello("/echo"),
    [send(text("hello")), receive()],
    [send(binary(b"\0" * 126)), receive()],
    [send(text("x" * 70_000)), receive()],
    [send(text("ab", fin=False) + more(b"cd") + more(b"ef", fin=True)), receive()],
    [send(ping(b"ping")), receive()],
    [send(close(1000, "bye")), receive(), eof()],
]


@pytest.fixture(scope="module")
def fine(pairs: Pairs, documents: Path) -> Pair:
    """Both servers with `--log-level fine`, which comes after the `--log-level debug` of all."""
    return pairs(Tree(HANDLERS / "contract", documents, ("--log-level", "fine")))


def _frames(server: Server) -> list[str]:
    """What its log says at level fine, without times and addresses."""
    # What it logs of the end of the connection comes last.
    assert server.writes(r"Received client-initiated closing handshake"), server.written()
    return re.findall(r"^\[.*?\] \[FINE\] (.*)$", server.written(), re.MULTILINE)


def _is_of_payload(line: str) -> bool:
    return re.search(r"payload data( at [\d.e+-]+ MB/s)?$", line) is not None


def test_each_frame_is_a_few_lines(fine: Pair) -> None:
    """The same lines under the same logger; the steps of a payload and speeds are the reference's only."""
    deviates("fine-log")
    for server in (fine.reference, fine.subject):
        Client(server).run(SESSION)
    reference, subject = _frames(fine.reference), _frames(fine.subject)
    assert any(map(_is_of_payload, reference))
    assert [line for line in reference if not _is_of_payload(line)] == (
        [line for line in subject if not _is_of_payload(line)] if servers.SELF else subject
    )
    assert sum("FIN=" in line for line in reference) == 8
    assert f"pywebsocket3.stream.Stream: Mask={MASK!r}" in reference
