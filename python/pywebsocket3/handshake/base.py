"""The opening handshake without its transport: exceptions, header checks, `HandshakerBase`."""

from __future__ import annotations

from pywebsocket3 import common, http_header_util, util
from wshost._native import (
    HandshakerBase,
    Stream,
    StreamOptions,
    get_default_port,
    get_extension_processor,
    get_mandatory_header,
    parse_host_header,
    parse_token_list,
    validate_mandatory_header,
    validate_subprotocol,
)

__all__ = [
    "AbortedByUserException",
    "HandshakeException",
    "HandshakerBase",
    "Stream",
    "StreamOptions",
    "VersionException",
    "common",
    "get_default_port",
    "get_extension_processor",
    "get_mandatory_header",
    "http_header_util",
    "parse_host_header",
    "parse_token_list",
    "util",
    "validate_mandatory_header",
    "validate_subprotocol",
]


class AbortedByUserException(Exception):
    """Raised by a handler to drop the connection: nothing more is sent, and no other handler runs."""


class HandshakeException(Exception):
    """The opening handshake failed; `status` is the HTTP status to answer with, if one was chosen."""

    def __init__(self, name: object, status: int | None = None) -> None:
        super().__init__(name)
        self.status = status


class VersionException(Exception):
    """The client speaks a version that the server does not; `supported_versions` goes into the answer."""

    def __init__(self, name: object, supported_versions: str = "") -> None:
        super().__init__(name)
        self.supported_versions = supported_versions
