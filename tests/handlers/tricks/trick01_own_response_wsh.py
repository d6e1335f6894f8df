"""Trick 1: a response of its own, then an abort; the server adds nothing and closes."""

from mod_pywebsocket import handshake


def web_socket_do_extra_handshake(request):
    request.connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")
    if "split" in request.ws_resource:
        request.connection.write(b"!")
    raise handshake.AbortedByUserException("own response")


def web_socket_transfer_data(request):
    raise AssertionError("never reached")
