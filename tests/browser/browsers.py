"""Firefox and Chromium, headless, behind one small interface.

Firefox is driven over Marionette (Mozilla's own driver; geckodriver is not needed), Chromium over WebDriver.
Both are the browsers of the system; nothing is downloaded.
"""

import json
import os
import shutil
import socket
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Optional

SCRIPT_SECONDS = 60
"""How long a script may take for what comes at once unless something is broken."""

SIZE = (1280, 900)
"""The window, in pixels."""

# A body of an async function, its arguments in `args`; what goes wrong comes back as text.
WRAPPER = """
const done = arguments[arguments.length - 1];
const args = Array.prototype.slice.call(arguments, 0, -1);
(async () => {
  %s
})().then((value) => done({value}), (error) => done({error: `${error}\\n${error.stack}`}));
"""


class Browser(ABC):
    """What the tests do with a browser."""

    name: str

    @abstractmethod
    def _element(self, selector: str) -> Any:
        """The driver's object for an element."""

    @abstractmethod
    def _script(self, script: str, args: tuple[Any, ...]) -> Any:
        """Runs a script that calls back; gives what it calls back with."""

    @abstractmethod
    def open(self, url: str) -> None:
        """Goes to a page and waits until it is loaded."""

    def click(self, selector: str) -> None:
        """Clicks the element, as a person would."""
        self._element(selector).click()

    def type(self, selector: str, text: str) -> None:
        """Replaces the text of a field by typing."""
        element = self._element(selector)
        element.clear()
        element.send_keys(text)

    def choose_file(self, selector: str, path: Path) -> None:
        """Chooses a file in a file field."""
        self._element(selector).send_keys(str(path))

    @abstractmethod
    def screenshot(self) -> bytes:
        """A PNG of what is seen."""

    @abstractmethod
    def _prefer_dark(self, dark: bool) -> None:
        """Tells the browser that the person likes dark, or light; pages may hear of it later."""

    def set_dark(self, dark: bool) -> None:
        """Makes the page think that the person likes dark, or light, and waits until it is drawn so."""
        self._prefer_dark(dark)
        wait_for(self, "matchMedia('(prefers-color-scheme: dark)').matches === args[0]", dark)
        # The second frame begins after the first one was drawn.
        frame = "await new Promise(requestAnimationFrame);"
        run(self, f"{frame} {frame}")

    @abstractmethod
    def quit(self) -> None:
        """Ends the browser."""


def run(browser: Browser, script: str, *args: Any) -> Any:
    """Runs `script`, the body of an async function, in the page; gives what it returns."""
    answer = browser._script(WRAPPER % script, args)
    assert "error" not in answer, f"{browser.name}: {answer['error']}"
    return answer.get("value")


def wait_for(browser: Browser, expression: str, *args: Any) -> Any:
    """Waits until `expression` is true in the page; gives its value."""
    body = """
      const deadline = performance.now() + 30000;
      for (;;) {
        const value = %s;
        if (value) return value;
        if (performance.now() > deadline) throw new Error("not within 30 s: " + %s);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    """
    return run(browser, body % (expression, json.dumps(expression)), *args)


class Firefox(Browser):
    """Firefox, over Marionette."""

    name = "firefox"

    def __init__(self) -> None:
        from marionette_driver.marionette import Marionette

        # Firefox's own log goes into a folder, under a name of its own. Never give the path of a file:
        # Marionette removes what is there.
        self._folder = tempfile.TemporaryDirectory()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._marionette = Marionette(
            bin=program("firefox-esr", "firefox"),
            headless=True,
            port=port,
            startup_timeout=120,
            gecko_log=self._folder.name,
            prefs={"dom.min_background_timeout_value": 4},
        )
        self._marionette.start_session({"acceptInsecureCerts": True})
        self._marionette.timeout.script = SCRIPT_SECONDS
        self._marionette.set_window_rect(width=SIZE[0], height=SIZE[1])

    def _element(self, selector: str) -> Any:
        from marionette_driver.by import By

        return self._marionette.find_element(By.CSS_SELECTOR, selector)

    def open(self, url: str) -> None:
        self._marionette.navigate(url)

    def _script(self, script: str, args: tuple[Any, ...]) -> Any:
        return self._marionette.execute_async_script(script, script_args=args, sandbox=None)

    def screenshot(self) -> bytes:
        return bytes(self._marionette.screenshot(format="binary", full=False))

    def _prefer_dark(self, dark: bool) -> None:
        self._marionette.set_pref("layout.css.prefers-color-scheme.content-override", 0 if dark else 1)

    def quit(self) -> None:
        self._marionette.quit(in_app=False)
        # Else it is removed when the interpreter is half gone.
        self._marionette.cleanup()
        self._folder.cleanup()


class Chromium(Browser):
    """Chromium, over WebDriver."""

    name = "chromium"

    def __init__(self) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = program("chromium")
        options.accept_insecure_certs = True
        options.add_argument("--headless=new")
        options.add_argument(f"--window-size={SIZE[0]},{SIZE[1]}")
        # It is to talk to the server under test, and to nobody else.
        for name in [
            "disable-background-networking",
            "disable-component-update",
            "disable-sync",
            "no-first-run",
        ]:
            options.add_argument(f"--{name}")
        options.add_argument("--disable-gpu")
        options.add_argument("--disable-quic")
        options.add_argument("--disable-dev-shm-usage")
        if os.geteuid() == 0:
            # Its sandbox does not work for root.
            options.add_argument("--no-sandbox")
        self._driver = webdriver.Chrome(options=options, service=Service(program("chromedriver")))
        self._driver.set_script_timeout(SCRIPT_SECONDS)

    def _element(self, selector: str) -> Any:
        return self._driver.find_element("css selector", selector)

    def open(self, url: str) -> None:
        self._driver.get(url)

    def _script(self, script: str, args: tuple[Any, ...]) -> Any:
        return self._driver.execute_async_script(script, *args)

    def screenshot(self) -> bytes:
        return bytes(self._driver.get_screenshot_as_png())

    def _prefer_dark(self, dark: bool) -> None:
        value = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def quit(self) -> None:
        self._driver.quit()


def find(*names: str) -> Optional[str]:
    """The path of the first of these programs that is there."""
    return next((path for name in names if (path := shutil.which(name))), None)


def program(*names: str) -> str:
    """The same; it must be there."""
    path = find(*names)
    assert path, names
    return path
