"""The opening handshake of a request, and the exceptions that end it."""

from pywebsocket3 import common
from pywebsocket3.handshake import base, hybi
from pywebsocket3.handshake._base import build_location
from pywebsocket3.handshake.base import AbortedByUserException, HandshakeException, VersionException
from wshost._native import do_handshake

__all__ = [
    "AbortedByUserException",
    "HandshakeException",
    "VersionException",
    "base",
    "build_location",
    "common",
    "do_handshake",
    "hybi",
]
