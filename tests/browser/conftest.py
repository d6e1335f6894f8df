"""Fixtures: the browsers that are here, and the server that they talk to."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from browsers import Browser, Chromium, Firefox, find
from serving import REPOSITORY, Server

SITE = Path(__file__).parent / "site"
SCREENSHOTS = REPOSITORY / "target" / "screenshots"


@pytest.fixture(scope="session", params=["firefox", "chromium"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Each browser in turn; skipped where it is not installed."""
    kinds = {
        "firefox": (Firefox, [("firefox-esr", "firefox")], "marionette_driver"),
        "chromium": (Chromium, [("chromium",), ("chromedriver",)], "selenium"),
    }
    kind, programs, package = kinds[request.param]
    missing = [names[0] for names in programs if not find(*names)]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed; `make browsers` does it")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed in .venv; `make test-browsers` does it")
    browser = kind()
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def site() -> Iterator[Server]:
    """A server on the pages and handlers of `site/`."""
    with Server(SITE, "--log-level", "info", host="localhost") as server:
        yield server


@pytest.fixture
def picture(browser: Browser, request: pytest.FixtureRequest) -> Callable[[str], bytes]:
    """Takes screenshots, and leaves them in `target/screenshots` for people to look at."""

    def take(name: str) -> bytes:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        data = browser.screenshot()
        (SCREENSHOTS / f"{name}-{browser.name}.png").write_bytes(data)
        assert data.startswith(b"\x89PNG")
        return data

    return take
