"""`python -m wshost` and the `wshost` console script: the command line."""

import sys

from wshost import _native


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    sys.exit(_native.main(sys.argv))


if __name__ == '__main__':
    main()
