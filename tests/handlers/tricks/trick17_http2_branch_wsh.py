"""Trick 17: a handler for both HTTP versions asks for the protocol and sets a status."""

import journal
from mod_pywebsocket.handshake import AbortedByUserException


def web_socket_do_extra_handshake(request):
    request.status = 401
    journal.note(request.protocol, request.status, hasattr(request, "headers_out"))
    if request.protocol == "HTTP/2":
        request.headers_out["www-authenticate"] = 'Basic realm="x"'
    elif request.headers_in.get("authorization") is None:
        request.connection.write(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
        raise AbortedByUserException("no credentials")


def web_socket_transfer_data(request):
    request.ws_stream.send_message("in")
