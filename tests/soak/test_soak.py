"""The short form of `make soak`: the same for 30 s, or `$SOAK_SECONDS`."""

import os

from soak import soak

SECONDS = float(os.environ.get("SOAK_SECONDS", "30"))


def test_nothing_is_lost_in_a_short_soak() -> None:
    figures = soak(connections=100_000, messages=5_000_000, period=0.5, seconds=SECONDS)
    print(figures)
    assert figures["problems"] == []
    for kind in ("connections", "messages", "misbehaving peers", "reloads"):
        assert figures[kind] != 0, kind
