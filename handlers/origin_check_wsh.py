"""Takes only pages of this server: the origin must have the host and port of the request, or it gets a 403.

Browsers send the origin of the page that opens the connection. Programs can send anything, or nothing, so
this keeps other people's pages away, not other people.
"""

from urllib.parse import urlsplit

from pywebsocket3.handshake import HandshakeException


def web_socket_do_extra_handshake(request):
    host = urlsplit(request.ws_origin or "").netloc.lower()
    if not host or host != (request.headers_in.get("Host") or "").lower():
        raise HandshakeException(f"origin {request.ws_origin!r} is not this server", status=403)


def web_socket_transfer_data(request):
    request.ws_stream.send_message(f"welcome, {request.ws_origin}")
