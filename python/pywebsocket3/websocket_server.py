"""The server as an object: bind it, serve on any thread, stop it."""

from __future__ import annotations

import atexit
import logging
import os
import selectors
import socket
import socketserver
import ssl
import threading
import traceback
from types import TracebackType
from typing import Any

from pywebsocket3 import dispatch, util
from pywebsocket3.request_handler import WebSocketRequestHandler, is_unchanged
from wshost import _native

__all__ = ["WebSocketRequestHandler", "WebSocketServer"]

_AddrInfo = tuple[int, int, int, str, Any]


def _alias_handlers(dispatcher: dispatch.Dispatcher, websock_handlers_map_file: str) -> None:
    """Adds the aliases of a map file to `dispatcher`; lines that are wrong are logged."""
    aliases, problems = _native.read_map_file(websock_handlers_map_file)
    for problem in problems:
        logging.warning("%s", problem)
    for alias, resource in aliases:
        try:
            dispatcher.add_resource_path_alias(alias, resource)
        except dispatch.DispatchException as error:
            logging.error("%s", error)


# Ends the connections that are open when the interpreter ends. Handlers that do not end (they sleep, or
# compute) are left behind, as daemon threads are.
atexit.register(_native.end_handlers)


class _ClassServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Gives each connection of a listening socket to `owner.RequestHandlerClass`, on its own thread."""

    daemon_threads = True
    # Seconds that `handle_request` waits for a client that a selector has seen.
    timeout = 0

    def __init__(self, owner: WebSocketServer, socket_: socket.socket, tls: ssl.SSLContext | None) -> None:
        super().__init__(socket_.getsockname(), owner.RequestHandlerClass, bind_and_activate=False)
        self.socket.close()
        self.socket = socket_
        self._owner = owner
        self._tls = tls

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._tls is not None:
            request = self._tls.wrap_socket(request, server_side=True)
        try:
            self.RequestHandlerClass(request, client_address, self._owner)  # type: ignore[arg-type]
        finally:
            if self._tls is not None:
                self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self._owner.handle_error(request, client_address)


def _tls_context(options: Any) -> ssl.SSLContext | None:
    """What the TLS options say, for a server in Python."""
    if not getattr(options, "use_tls", False):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(options.certificate, options.private_key)
    if getattr(options, "tls_client_auth", False):
        context.load_verify_locations(options.tls_client_ca)
        optional = getattr(options, "tls_client_cert_optional", False)
        context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    return context


class WebSocketServer:
    """A WebSocket server with the handlers, the address and the files that `options` names.

    `options` is any object with the attributes that `standalone._parse_args_and_config` gives; those that are
    missing have their defaults. The constructor loads the handlers (`options.dispatcher` is theirs from then
    on) and binds the sockets. `options.reload = True` keeps the handlers up to date while the server runs; by
    default they are not, as harnesses expect.

    Connections are served by Rust as `WebSocketRequestHandler` would. If `RequestHandlerClass` is another
    class when `serve_forever` is called, or that one was patched, each connection is given to it, in Python;
    handlers are not kept up to date then.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, options: Any) -> None:
        self._logger = util.get_class_logger(self)
        self.websocket_server_options = options
        self.request_queue_size: int = getattr(options, "request_queue_size", 128)
        self.server_name: str = options.server_host
        self.server_port: int = options.port
        self.socket: socket.socket | None = None
        self.stop = False
        # pywebsocket: the name in this module is looked up for each server, and may be assigned.
        self.RequestHandlerClass: type[Any] = WebSocketRequestHandler
        self._process = 0
        self._own()
        options.dispatcher = dispatch.Dispatcher(
            options.websock_handlers,
            getattr(options, "scan_dir", None),
            getattr(options, "allow_handlers_outside_root_dir", False),
            getattr(options, "handler_encoding", None),
        )
        map_file = getattr(options, "websock_handlers_map_file", None)
        if map_file:
            _alias_handlers(options.dispatcher, map_file)
        for warning in options.dispatcher.source_warnings():
            logging.warning("Warning in source loading: %s", warning)
        self._sockets: list[tuple[socket.socket, _AddrInfo]] = []
        self._server: _native.Server | None = None
        self._bind()

    def _bind(self) -> None:
        options = self.websocket_server_options
        try:
            self._server = _native.Server(
                options.dispatcher,
                self.server_name,
                self.server_port,
                self.request_queue_size,
                options,
                reload=bool(getattr(options, "reload", False)),
                on_error=self._report,
            )
        except ssl.SSLError:
            raise
        except OSError as error:
            # pywebsocket: the constructor succeeds and `_sockets` is empty.
            self._logger.critical("No sockets activated: %s", error)
            return
        for fileno in self._server.filenos():
            socket_ = socket.socket(fileno=os.dup(fileno))
            address = socket_.getsockname()
            self._sockets.append((socket_, (socket_.family, socket_.type, socket_.proto, "", address)))
        self.server_port = self._sockets[0][0].getsockname()[1]

    def _own(self) -> None:
        """In a forked child: it does not serve yet, whatever the parent's threads do."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._ended = threading.Event()
            self._ended.set()
            self._ending = False

    @property
    def server_address(self) -> tuple[str, int]:
        """`(server_name, server_port)`."""
        return self.server_name, self.server_port

    def fileno(self) -> int:
        """The descriptor of the first socket."""
        return self._sockets[0][0].fileno()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serves until `shutdown` or `server_close` is called. A `KeyboardInterrupt` ends it, too."""
        if self._server is None:
            return
        if is_unchanged(self.RequestHandlerClass):
            self._server.serve()
        else:
            self._serve_in_python(poll_interval)

    def _serve_in_python(self, poll_interval: float) -> None:
        tls = _tls_context(self.websocket_server_options)
        self._own()
        self._ending = False
        self._ended.clear()
        try:
            with selectors.DefaultSelector() as selector:
                for socket_, _ in self._sockets:
                    selector.register(_ClassServer(self, socket_, tls), selectors.EVENT_READ)
                while not self._ending:
                    for key, _ in selector.select(poll_interval):
                        server: Any = key.fileobj
                        server.handle_request()
        finally:
            self._ended.set()

    def shutdown(self) -> None:
        """Ends `serve_forever` and waits until it has returned. Connections that are open go on.

        In a forked child it ends what the child serves, and nothing of its parent's.
        """
        self._own()
        self._ending = True
        self._ended.wait()
        if self._server is not None:
            self._server.stop()

    def server_close(self) -> None:
        """Closes the listening sockets; in a forked child, the child's copies."""
        self._own()
        self._ending = True
        for socket_, addrinfo in self._sockets:
            self._logger.info("Close on: %r", addrinfo)
            socket_.close()
        if self._server is not None:
            self._server.close()

    def handle_error(self, request: object, client_address: tuple[Any, ...] | str) -> None:
        """Called in an `except` block with what a handler raised; logs it with its traceback."""
        self._logger.error(
            "Exception in processing request from: %r\n%s", client_address, traceback.format_exc()
        )

    def _report(self, error: BaseException, client_address: tuple[Any, ...]) -> None:
        try:
            raise error
        except BaseException:
            self.handle_error(None, client_address)

    def __enter__(self) -> WebSocketServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server_close()
