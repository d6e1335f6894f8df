"""The status page, as people see it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Callable
from urllib.parse import urlsplit

import pytest
from browsers import Browser, run, wait_for
from serving import ECHO, Server, handler, wait_until, write


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with a good handler, one that fails, and a status page."""
    write(tmp_path, "echo_wsh.py", ECHO)
    write(tmp_path, "broken_wsh.py", "import there_is_no_such_module\n")
    options = ["--status", "127.0.0.1:0", "--log-level", "info"]
    with Server(tmp_path, *options) as server:
        yield server


def status_url(server: Server) -> str:
    """Where the status page is."""
    return server.log.wait_for(r"status page on (\S+)").group(1)


def text_of(browser: Browser, selector: str) -> str:
    """What stands in an element."""
    return str(run(browser, "return document.querySelector(args[0]).textContent", selector))


def test_it_shows_what_happens(
    browser: Browser, server: Server, tmp_path: Path, picture: Callable[[str], bytes]
) -> None:
    browser.open(status_url(server))
    wait_for(browser, "document.querySelector('#state').textContent === 'live'")
    assert "1 with errors" in text_of(browser, "#handler-count")
    assert "nobody is connected" in text_of(browser, "#connections")
    with server.talk("/echo?a=<b>") as client:
        wait_for(browser, "document.querySelector('#connections').textContent.includes('/echo?a=<b>')")
        for _ in range(500):
            client.send("x" * 100)
            client.recv()
        wait_for(browser, "document.querySelector('#connections').textContent.includes('500 / 500')")
        wait_for(browser, "document.querySelector('#throughput .in').getAttribute('d').includes('L')")
        wait_for(browser, "document.querySelector('#connections').textContent.includes('waiting')")
        write(tmp_path, "echo_wsh.py", handler("raise RuntimeError('as asked')"))
        wait_for(browser, "document.querySelector('#reloads').textContent.includes('changed /echo')")
        wait_for(browser, "document.querySelector('#handlers').textContent.includes('0 + 1 old')")
        with server.talk("/echo"):
            pass
        wait_for(
            browser,
            "document.querySelector('#log').textContent.includes('raised exception for /echo: as asked')",
        )
        browser.click("#handlers details summary")
        assert "ModuleNotFoundError" in text_of(browser, "#handlers details[open] pre")
        browser.set_dark(False)
        light = picture("status-light")
        browser.set_dark(True)
        dark = picture("status-dark")
        browser.set_dark(False)
        assert light != dark
    wait_for(browser, "document.querySelector('#connections').textContent.includes('nobody is connected')")
    # What was opened stays open while the page is brought up to date.
    assert run(browser, "return document.querySelectorAll('#handlers details[open]').length") == 1


def test_it_says_when_the_server_is_gone(browser: Browser, server: Server) -> None:
    browser.open(status_url(server))
    wait_for(browser, "document.querySelector('#state').textContent === 'live'")
    assert server.stop() == 0
    wait_for(browser, "document.querySelector('#state').className === 'lost'")


def test_it_finds_the_server_again(browser: Browser, tmp_path: Path) -> None:
    def start(port: str) -> Server:
        return Server(tmp_path, "--status", f"127.0.0.1:{port}")

    with start("0") as server:
        url = status_url(server)
        browser.open(url)
        wait_for(browser, "document.querySelector('#state').className === 'live'")
        first = server.process.pid
        assert server.stop() == 0
        wait_for(browser, "document.querySelector('#state').className === 'lost'")
    with start(str(urlsplit(url).port)) as server:
        assert server.process.pid != first
        wait_for(browser, "document.querySelector('#state').className === 'live'")
        wait_for(
            browser, "document.querySelector('#about').textContent.includes(args[0])", str(server.process.pid)
        )


def test_a_page_that_is_not_seen_takes_no_connection(browser: Browser, server: Server) -> None:
    def sockets() -> int:
        return sum(target.startswith("socket:") for target in server.descriptors())

    browser.open(status_url(server))
    wait_for(browser, "document.querySelector('#state').textContent === 'live'")
    seen = sockets()
    count = """window.made = 0;
      window.EventSource = class extends EventSource {
        constructor(url) {
          super(url);
          window.made += 1;
        }
      };"""
    run(browser, count)
    change = """Object.defineProperty(document, "hidden", {configurable: true, value: args[0]});
      document.dispatchEvent(new Event("visibilitychange"));"""
    run(browser, change, True)
    wait_until(lambda: sockets() < seen, "its connection ends")
    assert run(browser, "return window.made") == 0
    run(browser, "document.querySelector('#about').textContent = ''")
    run(browser, change, False)
    wait_for(browser, "document.querySelector('#about').textContent !== ''")


def test_a_token_in_the_address_opens_it(browser: Browser, tmp_path: Path) -> None:
    token = "0123456789abcdef"
    options = ["--status", "localhost:0", "--status-token", token]
    with Server(tmp_path, *options) as server:
        url = status_url(server)
        assert url.endswith(f"/?token={token}")
        browser.open(url)
        wait_for(browser, "document.querySelector('#state').textContent === 'live'")
        # It is not left behind in the address, for others to copy or see.
        assert "token" not in run(browser, "return location.href")


def test_pages_of_others_cannot_read_it(browser: Browser, server: Server) -> None:
    api = status_url(server) + "api"
    browser.open(f"http://{server.address}/echo_wsh.py")
    text = """const source = new EventSource(args[0].replace("api", "live"));
      const opened = await new Promise((resolve) => {
        source.onopen = () => resolve(true);
        source.onerror = () => resolve(false);
      });
      source.close();
      return [opened, await fetch(args[0]).then(() => "read", () => "refused")];"""
    assert run(browser, text, api) == [False, "refused"]
