"""Trick 34: one module per file and server: all connections share its globals, from threads of their own."""

import threading

from pywebsocket3 import msgutil

_code = 0
_connections = 0
_waiting = 0
_changed = threading.Condition()


def web_socket_do_extra_handshake(request):
    global _connections
    with _changed:
        _connections += 1


def web_socket_transfer_data(request):
    global _code, _connections, _waiting
    kind = request.ws_resource.split("?")[1]
    if kind == "reset":
        _code = _connections = _waiting = 0
    elif kind == "set":
        _code = request.ws_stream.receive_message()
    elif kind == "get":
        msgutil.send_message(request, "%s %s" % (_code, _connections))
    elif kind == "wait":
        with _changed:
            _waiting += 1
            _changed.notify_all()
            msgutil.send_message(request, "waits")
            if not _changed.wait_for(lambda: _code == "released", 10):
                raise AssertionError("nobody released")
        msgutil.send_message(request, "released")
    elif kind == "release":
        with _changed:
            if not _changed.wait_for(lambda: _waiting == 3, 10):
                raise AssertionError("they never waited together")
            _code = "released"
            _changed.notify_all()
