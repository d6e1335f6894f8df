"""A server for tests and scripts: started with `with`, on a free port, gone afterwards.

The server is a process of its own, the same program as the command `wshost`, so that what is tested is what
is used. Must not import `wshost._native`.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from typing_extensions import Self
    from websockets.sync.client import ClientConnection

__all__ = ["Server", "ServerError"]

_Path = Union[str, "os.PathLike[str]"]


def _countable(seconds: float) -> float:
    """`seconds`, or as long as a thread can wait."""
    if not seconds >= 0:
        raise ValueError(f"timeout must be 0 or more seconds, not {seconds!r}")
    # Half of it: what is left of a time is added to the clock.
    return min(seconds, threading.TIMEOUT_MAX / 2)


class ServerError(RuntimeError):
    """The server did not start; the text has what it said."""


class Server:
    """A wshost that serves the handlers below a folder.

    ```
    with wshost.Server(handlers="tests/handlers") as server:
        print(server.ws_url("/echo"))
    ```

    Args:
        handlers: the root of the handler files (`-w`).
        host: the address to listen on (`-H`).
        port: the port (`-p`); 0 takes a free one, see the attribute `port`.
        document_root: the folder of files to serve (`-d`), the handlers' working directory; that of the
            handlers if it is not given.
        options: more options, as on the command line: `["--tls-self-signed", "--log-level", "debug"]`.
        env: the environment of the server; that of this process if it is not given.
        timeout: seconds to wait for the start, and again for the end.

    Raises:
        ValueError: `timeout` is no number of seconds.
    """

    def __init__(
        self,
        handlers: _Path = ".",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        document_root: _Path | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.handlers = Path(handlers).absolute()
        self.document_root = self.handlers if document_root is None else Path(document_root).absolute()
        self.host = host
        self.port = port
        self.timeout = _countable(timeout)
        self._options = list(options)
        self._env = env
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        # Known once it has started.
        self._secure: bool | None = None
        self._log = ""
        self._grown = threading.Condition()
        self._reader: threading.Thread | None = None

    def start(self) -> Self:
        """Starts the server and waits until it listens; `with` does it.

        Raises:
            ServerError: a folder is not there; or it ended, or does not listen within `timeout` seconds.
        """
        if self._process is not None:
            raise ServerError("the server runs already")
        for what, folder in (("handlers", self.handlers), ("document_root", self.document_root)):
            if not folder.is_dir():
                raise ServerError(f"{what}: there is no folder {folder}; name one that is there")
        self._owner = os.getpid()
        read_end, write_end = os.pipe()
        command = [sys.executable, "-m", "wshost", "-H", self.host, "-p", str(self.port)]
        command += ["-d", str(self.document_root), "-w", str(self.handlers), "--ready-fd", str(write_end)]
        try:
            self._process = subprocess.Popen(
                [*command, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                pass_fds=[write_end],
                env=self._env,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._collect, args=[self._process.stdout], daemon=True)
        self._reader.start()
        # The pipe ends with the process, too, so this cannot hang longer than the start does.
        overdue = threading.Timer(self.timeout, self._process.kill)
        overdue.start()
        with os.fdopen(read_end, encoding="utf-8") as ready:
            told = ready.read().splitlines()
        overdue.cancel()
        if not told:
            # It has closed the pipe and says why; then it ends.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self.timeout)
            self.stop()
            raise ServerError(f"wshost did not start; it says:\n{self.log}")
        self.port = int(told[0])
        self._secure = told[1].startswith("https:")
        return self

    def stop(self) -> None:
        """Ends the server and waits for it; one that takes longer than `timeout` seconds is killed.

        In a forked child it does nothing: the server is its parent's.
        """
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.terminate()
        try:
            process.wait(self.timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(self.timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def ws_url(self, resource: str = "/") -> str:
        """The URL of a resource: `ws://127.0.0.1:40001/echo`, with TLS `wss://...`.

        Raises:
            ServerError: the server was never started, and has no port yet.
        """
        return self._url("ws", resource)

    def http_url(self, path: str = "/") -> str:
        """The URL of a file: `http://127.0.0.1:40001/console.html`, with TLS `https://...`.

        Raises:
            ServerError: the server was never started, and has no port yet.
        """
        return self._url("http", path)

    def _url(self, scheme: str, resource: str) -> str:
        if self._secure is None:
            raise ServerError("the server has no URL before its start; use it with `with`, or call start()")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}{'s' if self._secure else ''}://{host}:{self.port}/{resource.lstrip('/')}"

    def connect(self, resource: str = "/", **options: Any) -> ClientConnection:
        """A client of `websockets`, connected to a resource; use it with `with`.

        Args:
            resource: for example `/echo`.
            options: those of `websockets.sync.client.connect`, such as `subprotocols=["chat"]`. Without an
                `ssl` among them any certificate is accepted: it is our own server's.

        Raises:
            ModuleNotFoundError: `websockets` is not installed.
            websockets.exceptions.InvalidStatus: the server or the handler refused, with the
                status `response.status_code`.
            ServerError: the server was never started.
        """
        try:
            from websockets.sync.client import connect

            from wshost._client import Client
        except ModuleNotFoundError as error:
            message = f"{error}; clients need it: pip install websockets"
            raise ModuleNotFoundError(message, name=error.name) from None
        url = self.ws_url(resource)
        if self._secure and "ssl" not in options:
            options["ssl"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            options["ssl"].check_hostname = False
            options["ssl"].verify_mode = ssl.CERT_NONE
        return connect(url, **{"proxy": None, "create_connection": Client, **options})

    @property
    def log(self) -> str:
        """What the server logged and its handlers printed so far, in whole lines; in a child, to its fork."""
        if self._owner != os.getpid():
            # The thread that collects it may have held the lock.
            return self._log
        with self._grown:
            return self._log

    def wait_for_log(self, text: str, timeout: float | None = None) -> None:
        """Waits until `text` is in the log.

        Raises:
            TimeoutError: it is not there within `timeout` seconds (those of the server if not given).
        """
        seconds = self.timeout if timeout is None else _countable(timeout)
        with self._grown:
            if not self._grown.wait_for(lambda: text in self._log, seconds):
                raise TimeoutError(f"{text!r} is not in the log after {seconds} s; there is:\n{self._log}")

    def _collect(self, output: IO[str]) -> None:
        with output, contextlib.suppress(ValueError):
            for line in output:
                with self._grown:
                    self._log += line
                    self._grown.notify_all()
