"""wshost: a WebSocket server that runs pywebsocket handlers unchanged, with hot reload.

`Server` starts one for tests and scripts, `wshost.typing` has the types of what handlers are given.
"""

from __future__ import annotations

from wshost._native import Connection, Request, RequestHandler, __version__

# As type checkers know it. A server starts sooner without `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wshost.server import Server, ServerError

__all__ = ["Connection", "Request", "RequestHandler", "Server", "ServerError", "__version__"]


def __getattr__(name: str) -> Any:
    # Only those who start servers pay for the import of `subprocess` and `ssl`; a server does not.
    if name in ("Server", "ServerError"):
        from wshost import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
