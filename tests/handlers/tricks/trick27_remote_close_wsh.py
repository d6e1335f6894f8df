"""Trick 27: closing without a code, and an end right after a ping."""

from mod_pywebsocket import handshake


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "none":
        request.ws_stream.close_connection(None, None)
    elif kind == "none-empty":
        request.ws_stream.close_connection(None)
    elif kind == "none-reason":
        request.ws_stream.close_connection(None, "reason")
    elif kind == "abrupt":
        request.ws_stream.send_ping("x")
        raise handshake.AbortedByUserException("abrupt")
    elif kind == "no-wait":
        request.ws_stream.close_connection(4000, "later", wait_response=False)
    elif kind == "going-away":
        request.ws_stream.close_connection(1001, "bye")
    else:
        code, reason = kind.split(",")
        request.ws_stream.close_connection(int(code), reason)
