"""Trick 6: 101 and close frame in one write, then the client's close frame read raw: no stream exists."""

from mod_pywebsocket import common, stream
from mod_pywebsocket.handshake import AbortedByUserException
from mod_pywebsocket.handshake.hybi import compute_accept_from_unicode


def web_socket_do_extra_handshake(request):
    response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    response += b"Sec-WebSocket-Accept: "
    response += compute_accept_from_unicode(request.headers_in.get(common.SEC_WEBSOCKET_KEY_HEADER))
    response += b"\r\n\r\n"
    body = stream.create_closing_handshake_body(common.STATUS_NORMAL_CLOSURE, "by hand")
    request.connection.write(response + stream.create_close_frame(body))
    frame = request.connection.read(8)
    request.connection.write(repr(frame).encode())
    raise AbortedByUserException("all done by hand")


def web_socket_transfer_data(request):
    raise AssertionError("never reached")
