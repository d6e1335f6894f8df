"""The standalone server: a WebSocket server for a tree of handler files.

Serve the handlers (`*_wsh.py`) and the files below a directory:

    python -m pywebsocket3.standalone -p 9998 -d DOCUMENT_ROOT

The handlers' root is the document root unless `-w HANDLERS` names another; the resource `/a/b` is handled by
`HANDLERS/a/b_wsh.py`. See `pydoc pywebsocket3` for how handlers are written, `--help` for all options.

    -p PORT                        port to listen on (80)
    -H HOST                        address to listen on (every one)
    -d DIR                         document root; becomes the working directory
    -w DIR                         root of the handlers (the document root)
    -s DIR                         only handlers below this directory
    -m FILE                        aliases, lines of `ALIAS RESOURCE`
    -l FILE, --log-level LEVEL     where to log (stderr) and how much (warn)

`wshost` on the command line is the same program.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import shutil
import ssl
import sys
import threading
from typing import Any

try:
    from pywebsocket3 import common, server_util, util
    from pywebsocket3.request_handler import (
        WebSocketRequestHandler,
        _StandaloneConnection,
        _StandaloneRequest,
    )
    from pywebsocket3.server_util import configure_logging as _configure_logging
    from pywebsocket3.websocket_server import WebSocketServer, _alias_handlers
    from wshost import _native
except ImportError as error:
    # Vendored (`wshost vendor DIR`) under a Python that has no wshost: `_main` runs the program instead.
    _MISSING: ImportError | None = error
else:
    _MISSING = None

__all__ = [
    "WebSocketRequestHandler",
    "WebSocketServer",
    "_StandaloneConnection",
    "_StandaloneRequest",
    "_alias_handlers",
    "_configure_logging",
    "common",
    "server_util",
    "ssl",
    "util",
]


def _parse_args_and_config(args: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Reads a command line and the configuration file that it names.

    Args:
        args: the arguments without the program's name; `None` takes those of this process.

    Returns:
        The options under pywebsocket's names (`server_host`, `port`, `scan_dir`, ...), and an empty list.

    Raises:
        SystemExit: 2 for wrong usage, 0 after `--help`.
    """
    values: dict[str, Any] = _native.parse_options(sys.argv[1:] if args is None else args)
    return argparse.Namespace(**values), []


def _main(args: list[str] | None = None) -> None:
    """Runs the program with `args` (default: those of this process) until it is told to stop.

    It changes the working directory and takes over logging and, on the main thread, SIGINT and SIGTERM. Exits
    with `SystemExit` for errors.
    """
    arguments = sys.argv[1:] if args is None else args
    if _MISSING is not None:
        _become_wshost(arguments, _MISSING)
    if threading.current_thread() is not threading.main_thread():
        _serve_here(arguments)
        return
    code = _native.main(["standalone.py", *arguments])
    _end_in_time()
    if code:
        sys.exit(code)


def _end_in_time() -> None:
    """After a stop, the interpreter does not wait for ever for threads that handlers have left."""
    # Called when the main thread is done, before the interpreter waits for other threads: a program that
    # goes on after `_main` is left alone.
    at_end = getattr(threading, "_register_atexit", None)
    if at_end is None:
        return
    with contextlib.suppress(RuntimeError):  # The interpreter is ending already.
        at_end(_native.exit_in_time)


def _serve_here(arguments: list[str]) -> None:
    """Serves on this thread, which gets no signals."""
    options, _ = _parse_args_and_config(arguments)
    os.chdir(options.document_root)
    server_util.configure_logging(options)
    _complete(options)
    if options.thread_monitor_interval_in_sec > 0:
        server_util.ThreadMonitor(options.thread_monitor_interval_in_sec).start()
    with WebSocketServer(options) as server:
        server.serve_forever()


def _complete(options: argparse.Namespace) -> None:
    """Adds to options from the command line what a server wants to know; `SystemExit` if they do not fit."""
    options.cgi_directories = options.cgi_paths.split(",") if options.cgi_paths else []
    options.is_executable_method = None
    options.scan_dir = options.scan_dir or options.websock_handlers
    credential = base64.b64encode(options.basic_auth_credential.encode())
    options.basic_auth_credential = f"Basic {credential.decode()}"
    try:
        _native.check_tls_options(options)
    except ValueError as error:
        sys.exit(f"wshost: {error}")


def _become_wshost(arguments: list[str], missing: ImportError) -> None:
    """Replaces this process by the `wshost` program with the same arguments."""
    program = shutil.which("wshost")
    if program is None:
        sys.exit(
            f"wshost: {missing}, and there is no wshost program in PATH; "
            f"install one of them, in a checkout of wshost: {sys.executable} -m pip install ."
        )
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    _main(sys.argv[1:])
