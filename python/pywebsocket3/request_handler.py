"""Serves one connection for a server of `socketserver`, under the reference's names.

`WebSocketServer` needs none of this: its connections are served by Rust. These classes are for programs that
accept connections themselves, or that hang a request handler class of their own into a server.
"""

from __future__ import annotations

import hmac
import http
import http.client
import http.server
import os
import posixpath
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from pywebsocket3 import common, dispatch, handshake, http_header_util, memorizingfile, util

__all__ = [
    "WebSocketRequestHandler",
    "_StandaloneConnection",
    "_StandaloneRequest",
    "common",
    "dispatch",
    "handshake",
    "http_header_util",
    "memorizingfile",
    "util",
]

# How many lines of a request's head are remembered, for `connection.get_memorized_lines()`.
_MAX_MEMORIZED_LINES = 1024


class _StandaloneConnection:
    """The socket of a request handler, as handlers see it."""

    def __init__(self, request_handler: Any) -> None:
        self._request_handler = request_handler

    def get_local_addr(self) -> tuple[str, int]:
        """Name and port of the server."""
        server = self._request_handler.server
        return server.server_name, server.server_port

    def get_remote_addr(self) -> Any:
        """The address of the client."""
        return self._request_handler.client_address

    local_addr = property(get_local_addr)
    remote_addr = property(get_remote_addr)

    def write(self, data: bytes) -> int:
        """Sends all of `data` and returns the number of bytes."""
        sent: int = self._request_handler.wfile.write(data)
        return sent

    def read(self, length: int) -> bytes:
        """At most `length` bytes, `b''` at the end; waits for the first one."""
        data: bytes = self._request_handler.rfile.read(length)
        return data

    def get_memorized_lines(self) -> list[bytes]:
        """The lines of the request's head, as they came."""
        lines: list[bytes] = self._request_handler.rfile.get_memorized_lines()
        return lines


class _StandaloneRequest:
    """The request of a request handler, as handlers see it."""

    def __init__(self, request_handler: Any, use_tls: bool) -> None:
        self._logger = util.get_class_logger(self)
        self._request_handler = request_handler
        self._use_tls = use_tls
        self.connection = _StandaloneConnection(request_handler)
        self.headers_in = request_handler.headers

    def get_uri(self) -> str:
        """The request target, query included."""
        target: str = self._request_handler.path
        return target

    def get_unparsed_uri(self) -> str:
        """The same."""
        return self.get_uri()

    def get_method(self) -> str:
        """`GET`, ..."""
        method: str = self._request_handler.command
        return method

    def get_protocol(self) -> str:
        """`HTTP/1.1`, ..."""
        protocol: str = self._request_handler.request_version
        return protocol

    uri = property(get_uri)
    unparsed_uri = property(get_unparsed_uri)
    method = property(get_method)
    protocol = property(get_protocol)

    def is_https(self) -> bool:
        """Whether the connection is under TLS."""
        return self._use_tls


class WebSocketRequestHandler(http.server.SimpleHTTPRequestHandler):
    """Serves the connection `request` of a `socketserver` server.

    A WebSocket goes to its handler, all else is served from the files of the working directory.
    `server.websocket_server_options` is an object with the attributes of pywebsocket's options, `dispatcher`
    among them; missing ones have their defaults. What a handler raises, the constructor raises: servers of
    `socketserver` give it to their `handle_error`.

    pywebsocket: the base is `CGIHTTPRequestHandler`, which is gone in Python 3.15. Here CGI scripts
    (`cgi_directories`) are answered with 501; `WebSocketServer` runs them.
    """

    MessageClass = http.client.HTTPMessage
    # Nothing is read ahead: what follows the head belongs to the handler.
    rbufsize = 0

    cgi_directories: list[str]
    is_executable: Callable[[str], bool]

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        self._logger = util.get_class_logger(self)
        self._options = server.websocket_server_options
        self.cgi_directories = self._option("cgi_directories") or []
        self.is_executable = self._option("is_executable_method") or _is_executable
        super().__init__(request, client_address, server)

    def _option(self, name: str, default: Any = None) -> Any:
        return getattr(self._options, name, default)

    def setup(self) -> None:
        """Makes the files of the connection; the one to read from remembers the lines of the head."""
        super().setup()
        lines: Any = memorizingfile.MemorizingFile(self.rfile, max_memorized_lines=_MAX_MEMORIZED_LINES)
        self.rfile = lines

    def parse_request(self) -> bool:
        """Reads the head and, if it is a WebSocket's, serves that to its end.

        Returns:
            Whether the request is still to be answered, by one of the `do_` methods.
        """
        if not super().parse_request() or not self._is_authorized():
            return False
        resource = self._resource()
        if resource is None:
            self._logger.info("Fallback to CGIHTTPRequestHandler")
            return True
        self.path = resource
        try:
            suite = self._options.dispatcher.get_handler_suite(resource)
        except dispatch.DispatchException as error:
            self._logger.info("Dispatch failed for error: %s", error)
            self.send_error(error.status)
            return False
        if not suite:
            self._logger.info("No handler for resource: %r", resource)
            self._logger.info("Fallback to CGIHTTPRequestHandler")
            return True
        self._serve_websocket()
        return False

    def _is_authorized(self) -> bool:
        if not self._option("use_basic_auth", False):
            return True
        given, wanted = self.headers.get("Authorization") or "", self._option("basic_auth_credential") or ""
        # Compared in a time that does not tell how much of it is right.
        if wanted and hmac.compare_digest(given.encode(), wanted.encode()):
            return True
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="Pywebsocket"')
        self.end_headers()
        self._logger.info("Request basic authentication")
        return False

    def _resource(self) -> str | None:
        """What the target names on this server; `None`, with a log record, when it names none."""
        host, port, resource = http_header_util.parse_uri(self.path)
        if resource is None:
            self._logger.info("Invalid URI: %r", self.path)
            return None
        for what, named, wanted in [
            ("host", host, self._option("validation_host")),
            ("port", port, self._option("validation_port")),
        ]:
            if named is not None and wanted is not None and named != wanted:
                self._logger.info("Invalid %s: %r (expected: %r)", what, named, wanted)
                return None
        return resource

    def _serve_websocket(self) -> None:
        request: Any = _StandaloneRequest(self, self._option("use_tls", False))
        dispatcher = self._options.dispatcher
        try:
            if self._has_shaken_hands(request, dispatcher):
                request._dispatcher = dispatcher
                dispatcher.transfer_data(request)
        except handshake.AbortedByUserException as error:
            self._logger.info("Aborted: %s", error)

    def _has_shaken_hands(self, request: Any, dispatcher: Any) -> bool:
        try:
            handshake.do_handshake(request, dispatcher)
        except handshake.VersionException as error:
            self._logger.info("Handshake failed for version error: %s", error)
            self.send_response(common.HTTP_STATUS_BAD_REQUEST)
            self.send_header(common.SEC_WEBSOCKET_VERSION_HEADER, error.supported_versions)
            self.end_headers()
        except handshake.HandshakeException as error:
            self._logger.info("Handshake failed for error: %s", error)
            self.send_error(error.status or common.HTTP_STATUS_BAD_REQUEST)
        else:
            return True
        return False

    def do_POST(self) -> None:
        """Refuses: only scripts take a body, and they are not run here."""
        if self.is_cgi():
            self._refuse_script()
        else:
            self.send_error(http.HTTPStatus.NOT_IMPLEMENTED, "Can only POST to CGI scripts")

    def send_head(self) -> Any:
        """Answers with a file's head and returns the open file, `None` after an error; see `http.server`."""
        if self.is_cgi():
            # Its source is not for clients.
            self._refuse_script()
            return None
        return super().send_head()

    def _refuse_script(self) -> None:
        self.send_error(501, "CGI scripts are run by WebSocketServer only")

    def is_cgi(self) -> bool:
        """Whether `path` names an executable file below one of the `cgi_directories`."""
        target = self.path.partition("?")[0]
        folder = posixpath.dirname(posixpath.normpath("/" + unquote(target).lstrip("/")))
        # `/` is the folder of the files right in it only.
        folders = [folder]
        while posixpath.dirname(folder) != "/":
            folder = posixpath.dirname(folder)
            folders.append(folder)
        if not any(found in self.cgi_directories for found in folders):
            return False
        file = self.translate_path(target)
        return os.path.isfile(file) and self.is_executable(file)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs an answer, at INFO."""
        self._logger.info('"%s" %s %s', self.requestline, str(code), str(size))

    def log_error(self, *args: Any) -> None:
        """Logs what went wrong, at WARNING: a format and its values."""
        self._logger.warning("%s - %s", self.address_string(), args[0] % args[1:])


def _is_executable(path: str) -> bool:
    return os.access(path, os.X_OK)


_AS_DEFINED = dict(vars(WebSocketRequestHandler))


def is_unchanged(handler_class: type[Any]) -> bool:
    """Whether this is `WebSocketRequestHandler` as it is here: no other class, and not patched."""
    return handler_class is WebSocketRequestHandler and dict(vars(handler_class)) == _AS_DEFINED
