"""Fixtures: the two ways to start wshost, and servers that surely end."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Server, Start

# A shell that runs the tests in the background ignores SIGINT for them and for all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["binary", "wheel"])
def way(request: pytest.FixtureRequest) -> str:
    """The binary with Python inside, and the wheel inside a Python: a test that takes this runs on both."""
    return str(request.param)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers on `tmp_path` that end with the test: of the binary unless `way` says otherwise."""
    with contextlib.ExitStack() as servers:

        def begin(*options: str, **settings: Any) -> Server:
            return servers.enter_context(Server(settings.pop("root", tmp_path), *options, **settings))

        yield begin
