"""Random sequences of frames, valid and not, against an echo handler that notes what it sees.

`$RANDOM_FRAMES` sequences are tried, from seed `$RANDOM_FRAMES_SEED` on; without them the same few hundred on
each run. A failure names the seed of its sequence: `RANDOM_FRAMES=1 RANDOM_FRAMES_SEED=...` tries it again.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from deviations import deviates
from frames import CLOSE, server_frame_size
from inflate import inflated
from pair import Pair, Pairs, are_alike, show
from random_frames import Sequence, rewritten, sequence
from servers import HANDLERS, SELF, Tree
from wire import (
    Client,
    Script,
    Step,
    Transcript,
    deflate,
    eof,
    flat,
    half_close,
    hello,
    journal,
    pieces,
    send,
)

COUNT = int(os.environ.get("RANDOM_FRAMES", "240"))
FIRST = int(os.environ.get("RANDOM_FRAMES_SEED", "1"))
_PEER = re.compile(rb"Peer \(\(\([^)]*\),\)\)")

PARTS = 4
"""So many tests share the sequences, for test sessions on several processors."""


@pytest.fixture(scope="module")
def echo(pairs: Pairs, documents: Path) -> Pair:
    """Both servers on `tests/handlers/random`."""
    return pairs(Tree(HANDLERS / "random", documents))


def script(sent: Sequence) -> list[Step]:
    """The connection on which the sequence is sent."""
    data = sent.wire()
    steps: Script = [
        hello("/echo", deflate() if sent.deflate else None),
        pieces(data, sent.piece) if sent.piece else send(data),
        half_close(),
        eof(),
        journal(),
    ]
    return list(flat(steps))


@pytest.mark.parametrize("part", range(PARTS))
def test_random_sequences(echo: Pair, part: int) -> None:
    """The same bytes, the same calls and exceptions in the handler, up to the deviations."""
    for seed in range(FIRST + part, FIRST + COUNT, PARTS):
        check(echo, seed)


def test_the_sequences_show_each_deviation() -> None:
    """What is not tried proves nothing."""
    used = set().union(*(rewritten(sequence(seed))[2] for seed in range(1, 241)))
    assert used == {"ping-between-fragments", "close-code", "close-reason", "utf8-in-fragments"}


def check(echo: Pair, seed: int) -> None:
    """Tries the sequence of one seed."""
    sent = sequence(seed)
    sent, for_reference, used = (sent, sent, set[str]()) if SELF else rewritten(sent)
    reference = Client(echo.reference).run(script(for_reference))
    subject = Client(echo.subject).run(script(sent))
    for transcript in (reference, subject):
        late = [event for event in transcript if "timeout" in event.what]
        assert not late, f"seed {seed}: the client waited in vain:\n{show(transcript)}"
    if not are_alike(comparable(subject, used), comparable(reference, used)):
        frames = "\n".join(f"    {frame}"[:300] for frame in sent.frames)
        pytest.fail(
            f"seed {seed} ({', '.join(sorted(used)) or 'no deviation'}), {sent.deflate=}, {sent.piece=}\n"
            f"{frames}\n    {sent.tail!r}\n  reference:\n{show(reference)}\n  wshost:\n{show(subject)}"
        )
    if not SELF:
        deviates("pong-after-close")
        assert all(until_close(event.data) == event.data for event in subject if event.what == "eof: eof")
    for name in used:
        deviates(name)


def comparable(transcript: Transcript, used: set[str]) -> Transcript:
    """What must be the same on both servers."""
    events: Transcript = []
    whole = [
        replace(event, data=until_close(event.data)) if event.on == "a" else event for event in transcript
    ]
    for event in inflated(whole):
        data = event.data
        if event.what == "notes":
            data = _PEER.sub(b"", data)
            # zlib-rs has other words now and then; and a frame in the place of another has its own.
            data = re.sub(rb"(?<=raised error): .*", b"", data)
            if used:
                data = re.sub(rb"(raised \w+): .*", rb"\1", data)
        events.append(replace(event, data=data))
    return events


def until_close(data: bytes) -> bytes:
    """What a server sent, up to its close frame. The oracle answers pings behind it."""
    if data.startswith(b"HTTP/"):
        return data
    end = 0
    while (size := server_frame_size(data[end:])) is not None:
        end += size
        if data[end - size] & 0x0F == CLOSE:
            return data[:end]
    return data
