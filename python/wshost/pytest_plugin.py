"""The pytest plugin: a server for the tests, clients for each test. pytest finds it by its entry point.

Fixtures: `wshost_server`, `wshost_client`, and `wshost_handlers` to override. Settings in pytest's
configuration: `wshost_handlers` (a folder, relative to the root directory) and `wshost_options` (as on the
command line).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wshost.server import Server

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_LOG_LINES = 100
"""How much of the server's log a failed test shows."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the settings of the plugin."""
    parser.addini(
        "wshost_handlers",
        "root of the handlers that the fixture wshost_server serves, relative to the root directory",
        default="handlers",
    )
    parser.addini("wshost_options", "more options of wshost, as on its command line", "args", default=[])


@pytest.fixture(scope="session")
def wshost_handlers(pytestconfig: pytest.Config) -> Path:
    """The root of the handlers that `wshost_server` serves; override it to serve others."""
    return pytestconfig.rootpath / str(pytestconfig.getini("wshost_handlers"))


@pytest.fixture(scope="session")
def wshost_server(pytestconfig: pytest.Config, wshost_handlers: Path) -> Iterator[Server]:
    """A server on a free port of 127.0.0.1, one for all tests of the session."""
    with Server(wshost_handlers, options=pytestconfig.getini("wshost_options")) as server:
        yield server


@pytest.fixture
def wshost_client(wshost_server: Server) -> Iterator[Callable[..., ClientConnection]]:
    """Connects to a resource, `wshost_client("/echo")`; what is still open is closed after the test.

    Takes what `wshost.Server.connect` takes.
    """
    with contextlib.ExitStack() as clients:

        def connect(resource: str = "/", **options: Any) -> ClientConnection:
            client = wshost_server.connect(resource, **options)
            # As `with` does: newer versions of websockets warn of a connection that is not entered.
            clients.enter_context(client)
            return client

        yield connect


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Shows the end of the server's log with a test that failed."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    server = getattr(item, "funcargs", {}).get("wshost_server")
    if report.failed and isinstance(server, Server):
        lines = server.log.splitlines()[-_LOG_LINES:]
        report.sections.append(("wshost log", "\n".join(lines)))
