"""Wanted differences: the table of `docs/deviations.md`, and how a scenario claims one of its lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from oracle import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "deviations.md"


@dataclass(frozen=True)
class Row:
    """A line of the table; the fields are its columns."""

    id: str
    reference: str
    wshost: str
    why: str


@cache
def table() -> dict[str, Row]:
    """The lines of the table by their ids."""
    rows: dict[str, Row] = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and re.fullmatch(r"`[a-z0-9-]+`", cells[0]):
            row = Row(cells[0].strip("`"), *cells[1:])
            if row.id in rows:
                raise ValueError(f"{DOCUMENT}: {row.id} stands there twice")
            rows[row.id] = row
    return rows


@dataclass(frozen=True)
class Deviation:
    """A scenario's claim that the two servers differ, and exactly how.

    `reference` and `wshost` are all the bytes that the server sends after the response heads which the
    script reads on their own.
    """

    id: str
    reference: bytes
    wshost: bytes

    def __post_init__(self) -> None:
        deviates(self.id)
        if self.reference == self.wshost:
            raise ValueError(f"{self.id} claims a difference where there is none")


def deviates(id: str) -> None:
    """The claim of a test that looks at the difference itself."""
    if id not in table():
        raise ValueError(f"{id} is not in {DOCUMENT}")
