"""Handlers that are still Python 2: recognized, and converted with `fissix` (the extra `wshost[py2]`).

Must not import anything of wshost. Imported only when a file is no Python 3.
"""

from __future__ import annotations

import difflib
import importlib.util
import re

INSTALL = "pip install fissix"
"""What brings the converter."""

# What a file of Python 2 has that Python 3 refuses; for the message where there is no converter.
_SIGNS = re.compile(
    r"""
    ^\s*print\s+[^\s=(.,\[]                      # print x
    | ^\s*print\s*>>                             # print >>stream, x
    | ^\s*except\s+[\w.]+\s*,\s*\w+\s*:          # except Error, error:
    | ^\s*except\s*\([^)]*\)\s*,\s*\w+\s*:
    | ^\s*raise\s+[\w.]+\s*,                     # raise Error, text
    | ^\s*exec\s+[^\s=(.,]                       # exec code
    | <>                                         # a <> b
    | `[^`\n]+`                                  # `x`
    | \b[uU][rR]['"]                             # ur''
    | [=(,\s]0[0-7]+[lL]?\b | \b\d+[lL]\b       # 0777, 10L
    | ^\s*def\s+\w+\([^)]*\(\w+,                 # def f(a, (b, c)):
    """,
    re.M | re.X,
)


def is_available() -> bool:
    """Whether files can be converted."""
    return importlib.util.find_spec("fissix") is not None


def looks_like(source: str) -> bool:
    """Whether a file that is no Python 3 has what Python 2 has. A guess, made without a parser."""
    return _SIGNS.search(source) is not None


def convert(source: str, path: str) -> str | None:
    """The file's text in Python 3; `None` if it is no Python 2 either, or there is no converter.

    Runs nothing of the file.
    """
    if not is_available():
        return None
    from fissix import refactor
    from fissix.pgen2.parse import ParseError
    from fissix.pgen2.tokenize import TokenError

    tool = refactor.RefactoringTool(refactor.get_fixers_from_package("fissix.fixes"))
    # The converter's parser wants a newline at the end.
    text = source if source.endswith("\n") else source + "\n"
    # Python 2 counts a tab in front of a line up to the next multiple of eight.
    expanded = re.sub(r"^[ \t]+", lambda indent: indent.group().expandtabs(8), text, flags=re.M)
    for attempt in (text, expanded):
        try:
            converted = str(tool.refactor_string(attempt, path))
            compile(converted, path, "exec")
        except (ParseError, TokenError, SyntaxError, ValueError):
            continue
        return converted
    return None


def hint(source: str) -> str:
    """What to add to a syntax error of a file that cannot be converted; nothing if it is no Python 2."""
    if is_available() or not looks_like(source):
        return ""
    return f"; it looks like Python 2, which is converted when it is loaded after: {INSTALL}"


def difference(source: str, converted: str, path: str) -> str:
    """The changes of the conversion as a unified diff."""
    before, after = source.splitlines(keepends=True), converted.splitlines(keepends=True)
    lines = difflib.unified_diff(before, after, path, path + " (Python 3)")
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)
