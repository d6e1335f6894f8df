"""The opening handshake over HTTP/1.1 (RFC 6455 section 4)."""

from pywebsocket3 import common, util
from pywebsocket3.handshake.base import (
    HandshakeException,
    HandshakerBase,
    get_mandatory_header,
    parse_token_list,
    validate_mandatory_header,
)
from wshost._native import (
    Handshaker,
    check_request_line,
    compute_accept,
    compute_accept_from_unicode,
    format_header,
)

__all__ = [
    "HandshakeException",
    "Handshaker",
    "HandshakerBase",
    "check_request_line",
    "common",
    "compute_accept",
    "compute_accept_from_unicode",
    "format_header",
    "get_mandatory_header",
    "parse_token_list",
    "util",
    "validate_mandatory_header",
]
