"""WebSocket extensions: permessage-deflate (RFC 7692) and the base of all processors."""

from pywebsocket3 import common, util
from wshost._native import (
    ExtensionProcessorInterface,
    PerMessageDeflateExtensionProcessor,
    _parse_window_bits,
    _PerMessageDeflateFramer,
    get_extension_processor,
    quote_if_necessary,
)

__all__ = [
    "ExtensionProcessorInterface",
    "PerMessageDeflateExtensionProcessor",
    "_PerMessageDeflateFramer",
    "_parse_window_bits",
    "common",
    "get_extension_processor",
    "is_compression_extension",
    "quote_if_necessary",
    "util",
]


def is_compression_extension(extension_name: str) -> bool:
    """Whether the extension compresses. (pywebsocket had this before there was only one extension left.)"""
    return extension_name == common.PERMESSAGE_DEFLATE_EXTENSION
