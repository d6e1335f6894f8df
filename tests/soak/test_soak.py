"""The short form of `make soak`."""

from soak import soak


def test_nothing_is_lost_in_a_short_soak() -> None:
    figures = soak(connections=1500, messages=40_000, period=0.1)
    print(figures)
    assert figures["problems"] == []
