"""Trick 22: what becomes of an exception in the data phase."""

from pywebsocket3 import dispatch, handshake, msgutil, stream


class OwnBadOperation(msgutil.BadOperationException):
    pass


_RAISES = {
    "aborted": lambda: handshake.AbortedByUserException("x"),
    "bad-operation": lambda: msgutil.BadOperationException("x"),
    "own-bad-operation": lambda: OwnBadOperation("x"),
    "invalid-frame": lambda: msgutil.InvalidFrameException("x"),
    "unsupported": lambda: msgutil.UnsupportedFrameException("x"),
    "utf8": lambda: stream.InvalidUTF8Exception("x"),
    "terminated": lambda: msgutil.ConnectionTerminatedException("x"),
    "handshake": lambda: handshake.HandshakeException("x", 403),
    "version": lambda: handshake.VersionException("x", "13"),
    "dispatch": lambda: dispatch.DispatchException("x"),
    "value": lambda: ValueError("x"),
    "os": lambda: OSError("x"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "x"),
    "exit": lambda: SystemExit(3),
    "interrupt": lambda: KeyboardInterrupt(),
}


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "attribute":
        return request.ws_challenge
    if kind == "name":
        return undefined_name  # noqa: F821
    if kind == "signature":
        return request.ws_stream.send_message()
    request.ws_stream.send_message(kind)
    raise _RAISES[kind]()
