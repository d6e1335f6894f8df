"""wshost: a WebSocket server that runs pywebsocket handlers unchanged, with hot reload."""

from wshost._native import Connection, Request, RequestHandler, __version__

__all__ = ["Connection", "Request", "RequestHandler", "__version__"]
