"""wshost: a WebSocket server that runs pywebsocket handlers unchanged, with hot reload."""

from wshost._native import __version__

__all__ = ['__version__']
