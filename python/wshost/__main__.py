"""`python -m wshost` and the `wshost` console script: the command line."""

import io
import sys

from wshost import _native


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    # What handlers print goes out line by line, into pipes too: harnesses read it while the server runs.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    sys.exit(_native.main(sys.argv))


if __name__ == '__main__':
    main()
