"""`python -m wshost` and the `wshost` console script: the command line."""

import io
import os
import sys

from wshost import _native


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    # What handlers print goes out line by line, into pipes too: harnesses read it while the server runs.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    code = _native.main(sys.argv)
    # A stream that nobody reads is no reason to stay.
    _native.exit_in_time()
    for name in ("stdout", "stderr"):
        # A handler may have taken the stream away, or put anything in its place.
        try:
            getattr(sys, name).flush()
        except Exception:
            pass  # Nobody is left to tell.
    # Handlers that still run end with the process; Python is not finalized under them, which would abort it.
    os._exit(code)


if __name__ == "__main__":
    main()
