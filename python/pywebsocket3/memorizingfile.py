"""A file that remembers the lines that were read from it."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["MemorizingFile"]


class MemorizingFile:
    """A file whose `readline` keeps what it reads. All other attributes are those of the file itself."""

    def __init__(self, file_: Any, max_memorized_lines: int = sys.maxsize) -> None:
        """Wraps `file_`. Only the first `max_memorized_lines` lines are kept."""
        self._file = file_
        self._lines: list[Any] = []
        self._limit = max_memorized_lines
        # What is left of a line that was handed out in part.
        self._rest: Any | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def readline(self, size: int = -1) -> Any:
        """The next line, or its next `size` characters. Lines are kept whole, however they are read."""
        if self._rest is None:
            line = self._file.readline()
            if line and len(self._lines) < self._limit:
                self._lines.append(line)
        else:
            line, self._rest = self._rest, None
        if 0 <= size < len(line):
            line, self._rest = line[:size], line[size:]
        return line

    def get_memorized_lines(self) -> list[Any]:
        """The lines read so far; the list grows with them."""
        return self._lines
