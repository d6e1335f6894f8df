"""`console.html`, used as a person does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from browsers import Browser, run, wait_for
from serving import REPOSITORY, Server

SAMPLES = REPOSITORY / "handlers"

LOG = "Array.from(document.querySelectorAll('#log tr'), (row) => Array.from(row.cells, (c) => c.textContent))"


@pytest.fixture(scope="module")
def samples() -> Iterator[Server]:
    """The samples and their console."""
    with Server(SAMPLES, host="localhost") as server:
        yield server


def events(browser: Browser) -> list[tuple[str, str, str]]:
    """Event, bytes and data of each row of the log, without the times that are measured."""
    rows = run(browser, f"return {LOG}")
    return [(row[1].split(",")[0], row[2], row[3]) for row in rows]


def wait_for_event(browser: Browser, beginning: str, count: int = 1) -> None:
    """Waits until the log has `count` rows of an event that begins so."""
    wait_for(
        browser, f"{LOG}.filter((row) => row[1].startsWith(args[0])).length >= args[1]", beginning, count
    )


def connect(browser: Browser, server: Server, resource: str) -> None:
    """Opens the console and connects by a click."""
    browser.open(f"http://{server.address}/console.html?resource={resource}")
    run(browser, "localStorage.clear()")
    browser.click("#connect")
    wait_for(browser, "document.querySelector('#state').textContent === 'open'")


def test_messages_of_every_kind(
    browser: Browser, samples: Server, picture: Callable[[str], bytes], tmp_path: Path
) -> None:
    connect(browser, samples, "/echo")
    browser.type("#data", "grüße")
    browser.click("#message button[type=submit]")
    wait_for_event(browser, "← received")
    run(browser, "document.querySelector('#kind').value = 'hex'")
    browser.type("#data", "00 ff 10")
    browser.click("#message button[type=submit]")
    wait_for_event(browser, "← received", 2)
    file = tmp_path / "file.bin"
    file.write_bytes(bytes(range(10)))
    browser.choose_file("#file", file)
    wait_for_event(browser, "← received", 3)
    browser.type("#data", "xyz")
    browser.click("#message button[type=submit]")
    wait_for_event(browser, "× problem")
    told = events(browser)
    assert told[0][0].endswith("connecting")
    assert told[1][0] == "● open"
    assert "permessage-deflate" in told[1][2]
    assert told[2:] == [
        ("→ sent text", "7", "grüße"),
        ("← received text", "7", "grüße"),
        ("→ sent binary", "3", "00 ff 10"),
        ("← received binary", "3", "00 ff 10"),
        ("→ sent binary", "10", "00 01 02 03 04 05 06 07 08 09"),
        ("← received binary", "10", "00 01 02 03 04 05 06 07 08 09"),
        ("× problem", "", "hexadecimal digits come in pairs, such as 48 65 6c 6c 6f"),
    ]
    browser.set_dark(False)
    light = picture("console-light")
    browser.set_dark(True)
    dark = picture("console-dark")
    browser.set_dark(False)
    assert light != dark


def test_closing_with_a_code(browser: Browser, samples: Server) -> None:
    connect(browser, samples, "/close")
    browser.type("#code", "4001")
    browser.type("#reason", "so long")
    browser.click("#closing button")
    wait_for_event(browser, "○ closed")
    assert events(browser)[-1][2] == 'code 4001, reason "so long", clean'
    assert run(browser, "return document.querySelector('#state').textContent") == "closed"


def test_a_handler_that_is_not_there(browser: Browser, samples: Server) -> None:
    browser.open(f"http://{samples.address}/console.html?resource=/missing")
    browser.click("#connect")
    wait_for_event(browser, "○ closed")
    assert "never opened" in events(browser)[-1][2]
    assert run(browser, "return document.querySelector('#state').className") == "failed"


def test_round_trips_are_timed(browser: Browser, samples: Server) -> None:
    connect(browser, samples, "/echo")
    browser.click("#measure")
    wait_for_event(browser, "⇄ timed")
    assert events(browser)[-1][2].startswith("10 round trips: least ")


def test_earlier_messages_come_back(browser: Browser, samples: Server) -> None:
    connect(browser, samples, "/echo")
    for number, text in enumerate(["first", "second"], 1):
        browser.type("#data", text)
        browser.click("#message button[type=submit]")
        wait_for_event(browser, "← received", number)
    # They outlive the page.
    browser.open(f"http://{samples.address}/console.html?resource=/echo")
    browser.click("#connect")
    wait_for(browser, "document.querySelector('#state').textContent === 'open'")
    press = """const field = document.querySelector("#data");
      for (const key of args) field.dispatchEvent(new KeyboardEvent("keydown", {key, cancelable: true}));
      return field.value;"""
    assert run(browser, press, "ArrowUp") == "second"
    assert run(browser, press, "ArrowUp", "ArrowUp") == "first"
    assert run(browser, press, "ArrowDown") == "second"
    assert run(browser, press, "ArrowDown") == ""


def test_it_reconnects_when_asked_to(browser: Browser, samples: Server) -> None:
    connect(browser, samples, "/close")
    browser.click("#reconnect")
    browser.type("#data", "4002 again")
    browser.click("#message button[type=submit]")
    wait_for_event(browser, "● open", 2)
    # Who disconnects does not want it back.
    browser.click("#connect")
    wait_for(browser, "document.querySelector('#state').textContent === 'closed'")


def test_everything_has_a_name_for_those_who_do_not_see_it(browser: Browser, samples: Server) -> None:
    connect(browser, samples, "/echo")
    text = """return Array.from(document.querySelectorAll("input, select, textarea, button"))
      .filter((field) => !(field.labels?.length || field.textContent.trim() || field.ariaLabel))
      .map((field) => field.id);"""
    assert run(browser, text) == []
    assert run(browser, "return document.documentElement.lang") == "en"
