"""Starts the server under test, and connects to it."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 30.0
"""How long to wait for what comes at once unless something is broken."""


@contextlib.contextmanager
def serve(documents: Path, *options: str) -> Iterator[str]:
    """A server on the handlers and files in `documents`; gives its `HOST:PORT`.

    `$WSHOST` names the program, any that takes pywebsocket's options and `--ready-fd`. Without it, it is the
    debug build of this checkout.
    """
    program = os.environ.get("WSHOST", str(REPOSITORY / "target" / "debug" / "wshost"))
    read_end, write_end = os.pipe()
    arguments = ["-H", "127.0.0.1", "-p", "0", "-d", str(documents), "--ready-fd", str(write_end), *options]
    server = subprocess.Popen([program, *arguments], pass_fds=[write_end])
    os.close(write_end)
    try:
        with os.fdopen(read_end) as ready:
            told = ready.read()
        port = re.match(r"\d+", told)
        assert port, f"the server did not become ready: {told!r}"
        yield f"127.0.0.1:{port.group()}"
    finally:
        server.kill()
        server.wait()


def talk(host: str, resource: str, **options: Any) -> ClientConnection:
    """A client, connected to `resource`."""
    return connect(f"ws://{host}{resource}", open_timeout=SECONDS, close_timeout=SECONDS, **options)
