"""Trick 38: two names, one package."""

import importlib

import mod_pywebsocket
import pywebsocket3
from mod_pywebsocket import *  # noqa: F403
from mod_pywebsocket.extensions import PerMessageDeflateExtensionProcessor
from mod_pywebsocket.handshake.hybi import compute_accept
from pywebsocket3.handshake import AbortedByUserException

_SUBMODULES = (
    "common",
    "dispatch",
    "extensions",
    "handshake",
    "handshake.base",
    "handshake.hybi",
    "http_header_util",
    "msgutil",
    "stream",
    "util",
)
_OLD = ("handshake._base", "_stream_base")


def _find(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return "no " + name


def web_socket_do_extra_handshake(request):
    if request.ws_resource.endswith("?abort"):
        raise mod_pywebsocket.handshake.AbortedByUserException("same class")


def web_socket_transfer_data(request):
    send = request.ws_stream.send_message
    if request.ws_resource.endswith("?old"):
        for name in _OLD:
            module = _find("mod_pywebsocket." + name)
            send("%s %s" % (name, "missing" if isinstance(module, str) else "found"))
        return
    send(str(mod_pywebsocket is pywebsocket3 or mod_pywebsocket.stream is pywebsocket3.stream))
    for name in _SUBMODULES:
        old, new = _find("mod_pywebsocket." + name), _find("pywebsocket3." + name)
        send("%s %s" % (name, old is new))
    send(str(pywebsocket3.handshake.base.AbortedByUserException is AbortedByUserException))
    send(str(pywebsocket3.handshake.hybi.compute_accept is compute_accept))
    for processor in request.ws_extension_processors:
        send(str(isinstance(processor, pywebsocket3.extensions.PerMessageDeflateExtensionProcessor)))
        send(str(isinstance(processor, PerMessageDeflateExtensionProcessor)))
