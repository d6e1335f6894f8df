"""The file of `pywebsocket3.standalone` under the old name, for those who run it by its path.

`import mod_pywebsocket.standalone` gives `pywebsocket3.standalone` itself, not this file.
"""

import os
import sys
from importlib.util import find_spec

if find_spec("pywebsocket3") is None:
    # Run by path from a folder that nobody put on sys.path: the packages lie beside each other.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from pywebsocket3.standalone import _main

if __name__ == "__main__":
    _main(sys.argv[1:])
