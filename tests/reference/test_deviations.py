"""The table of wanted differences is neither longer nor shorter than what the tests show."""

from __future__ import annotations

import re
from pathlib import Path

from deviations import table

_HERE = Path(__file__).parent


def _claimed() -> set[str]:
    """The ids that the scenarios of this folder claim."""
    sources = [path.read_text(encoding="utf-8") for path in _HERE.glob("test_*.py")]
    return {
        name
        for source in sources
        for name in re.findall(r'(?:Deviation\(|deviates\()\s*"([a-z0-9-]+)"', source)
    }


def test_every_line_is_claimed() -> None:
    """A line that no scenario shows is wrong or forgotten."""
    assert set(table()) - _claimed() == set()


def test_every_claim_is_in_the_table() -> None:
    """A claim without a line is a difference that nobody has decided on."""
    assert _claimed() - set(table()) == set()


def test_every_line_says_why() -> None:
    """No empty cell."""
    for row in table().values():
        assert all((row.reference, row.wshost, row.why)), row.id
