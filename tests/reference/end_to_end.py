"""Runs the oracle's own end-to-end tests, unmodified, against another server.

    python end_to_end.py [COMMAND...]

in the parent of the suite's folder `test`. COMMAND starts the server and takes the options of pywebsocket's
`standalone.py`; without it, the suite starts `pywebsocket3/standalone.py` by path, as it always does.
The suite sleeps for 0.2 s after it started a server; here it also waits until the server listens.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import unittest
from typing import Any

sys.path[0] = os.path.abspath("test")

import test_endtoend  # type: ignore[import-not-found]  # noqa: E402

_SECONDS = 30.0
_COMMAND = sys.argv[1:]
_run_python_command = test_endtoend.EndToEndTestBase._run_python_command


def _run(test: Any, arguments: list[str], **pipes: Any) -> subprocess.Popen[bytes]:
    if arguments[0] != test.standalone_command:
        process: subprocess.Popen[bytes] = _run_python_command(test, arguments, **pipes)
        return process
    if _COMMAND:
        # Without the suite's PYTHONPATH, which is for the interpreter that runs it (`putenv` does not change
        # `environ`).
        process = subprocess.Popen([*_COMMAND, *arguments[1:]], env=os.environ, **pipes)
    else:
        process = _run_python_command(test, arguments, **pipes)
    deadline = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("localhost", test.test_port), 1).close()
            break
        except OSError:
            time.sleep(0.01)
    return process


test_endtoend.EndToEndTestBase._run_python_command = _run
# Servers that are killed leave pipes that nobody closes: not what is tested here.
unittest.main(module=test_endtoend, argv=["end_to_end"], warnings="ignore")
