"""Trick 8: whatever an opening handshake raises is a 403."""

from mod_pywebsocket import dispatch, handshake, msgutil


class Own(Exception):
    pass


def _unbound():
    if False:
        name = 1
    return name


def _iterate_none(request):
    for _ in request.ws_requested_protocols:
        pass


_RAISES = {
    "value": lambda request: int("x"),
    "key": lambda request: {}["x"],
    "name": lambda request: undefined_name,  # noqa: F821
    "unbound": lambda request: _unbound(),
    "attribute": lambda request: request.no_such_attribute,
    "write-str": lambda request: request.connection.write("text"),
    "iterate-none": _iterate_none,
    "own": lambda request: _throw(Own("with ünicode")),
    "no-text": lambda request: _throw(Own()),
    "handshake": lambda request: _throw(handshake.HandshakeException("x", 401)),
    "version": lambda request: _throw(handshake.VersionException("x", "8")),
    "terminated": lambda request: _throw(msgutil.ConnectionTerminatedException("x")),
    "dispatch": lambda request: _throw(dispatch.DispatchException("x", 404)),
    "os": lambda request: _throw(OSError(5, "x")),
    "exit": lambda request: _throw(SystemExit(3)),
    "interrupt": lambda request: _throw(KeyboardInterrupt()),
}


def _throw(error):
    raise error


def web_socket_do_extra_handshake(request):
    _RAISES[request.ws_resource.split("?")[1]](request)


def web_socket_transfer_data(request):
    pass
