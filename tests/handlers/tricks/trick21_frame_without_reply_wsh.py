"""Trick 21: `_receive_frame` hands out control frames and answers none."""

from mod_pywebsocket import stream
from mod_pywebsocket.handshake import AbortedByUserException


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    frame = request.ws_stream._receive_frame()
    request.connection.write(repr(frame).encode())
    request.connection.write(stream.create_close_frame(b"", mask=False))
    if request.ws_resource.endswith("?abort"):
        raise AbortedByUserException("enough")
    if request.ws_resource.endswith("?raise"):
        raise Exception("enough")
