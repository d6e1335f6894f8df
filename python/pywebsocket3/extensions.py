"""WebSocket extensions: permessage-deflate (RFC 7692) and the base of all processors."""

from wshost._native import (
    ExtensionProcessorInterface,
    PerMessageDeflateExtensionProcessor,
    _PerMessageDeflateFramer,
    get_extension_processor,
)

__all__ = [
    'ExtensionProcessorInterface',
    'PerMessageDeflateExtensionProcessor',
    '_PerMessageDeflateFramer',
    'get_extension_processor',
]
