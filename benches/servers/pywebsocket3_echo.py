"""pywebsocket3 on the handlers of a folder: `pywebsocket3_echo.py PORT FOLDER`."""

import sys

from pywebsocket3 import standalone

if __name__ == "__main__":
    port, folder = sys.argv[1:]
    standalone._main(["-H", "127.0.0.1", "-p", port, "-d", folder, "--log-level", "error"])
