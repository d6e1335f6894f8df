"""Trick 2: own responses that no HTTP library would let through."""

from pywebsocket3 import handshake
from pywebsocket3.handshake.hybi import compute_accept_from_unicode

_RESPONSES = {
    "not-http": b"this is no response\r\n",
    "a5": b"\xa5\xa5\xa5HTTP/1.1 101 \xa5\r\n\r\n",
    "nul": b"HTTP/1.1 101 Switching\x00Protocols\r\nUpgrade: web\x00socket\r\n\r\n",
    "bare-lf": b"HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n\n",
    "no-crlf": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket",
    "junk": b"\x00z\xff\n" * 256,
    "status-200": b"HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "status-401": b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n',
    "http-1.0": b"HTTP/1.0 101 Switching Protocols\r\n\r\n",
    "fold": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade:\r\n websocket\r\n\r\n",
    "duplicates": b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nUpgrade: websocket\r\nX: 1\r\nX: 1\r\n\r\n",
    "empty": b"",
}


def web_socket_do_extra_handshake(request):
    kind = request.ws_resource.split("?")[1]
    request.connection.write(_RESPONSES[kind])
    if kind == "fold":
        accept = compute_accept_from_unicode(request.headers_in["Sec-WebSocket-Key"])
        request.connection.write(accept)
    raise handshake.AbortedByUserException(kind)


def web_socket_transfer_data(request):
    raise AssertionError("never reached")
