"""The old name of `pywebsocket3.handshake.base`, and what only the old one had."""

from typing import Any

from pywebsocket3 import common
from pywebsocket3.handshake.base import *  # noqa: F403
from pywebsocket3.handshake.base import get_default_port, parse_host_header


def build_location(request: Any) -> str:
    """The `ws:` or `wss:` URI of a request, from its `Host` field and its target."""
    secure = request.is_https()
    scheme = common.WEB_SOCKET_SECURE_SCHEME if secure else common.WEB_SOCKET_SCHEME
    host, port = parse_host_header(request)
    authority = host if port == get_default_port(secure) else f"{host}:{port}"
    return f"{scheme}://{authority}{request.unparsed_uri}"
