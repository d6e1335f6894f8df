"""The grammar of HTTP header values (RFC 2616 section 2.2), and request targets."""

from __future__ import annotations

from urllib.parse import urlsplit

from wshost._native import (
    ParsingState,
    consume,
    consume_lws,
    consume_lwses,
    consume_string,
    consume_token,
    consume_token_or_quoted_string,
    peek,
    quote_if_necessary,
)

__all__ = [
    "ParsingState",
    "consume",
    "consume_lws",
    "consume_lwses",
    "consume_string",
    "consume_token",
    "consume_token_or_quoted_string",
    "parse_uri",
    "peek",
    "quote_if_necessary",
]

_DEFAULT_PORTS = {"ws": 80, "wss": 443}


def parse_uri(uri: str) -> tuple[str | None, int | None, str | None]:
    """Host, port and resource of a request target.

    Host and port are `None` for a target that is no `ws://` or `wss://` URI; all three are `None` for one
    without a host or with a port that is no number.
    """
    parts = urlsplit(uri)
    if parts.scheme not in _DEFAULT_PORTS:
        return None, None, uri
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        return None, None, None
    if host is None:
        return None, None, None
    resource = parts.path or "/"
    if parts.query:
        resource += "?" + parts.query
    if parts.fragment:
        resource += "#" + parts.fragment
    return host, _DEFAULT_PORTS[parts.scheme] if port is None else port, resource
