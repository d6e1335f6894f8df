"""Trick 12: extra headers go out in order and as they are, line breaks included."""

_HEADERS = {
    "inject": [("Set-Cookie", "a=b\r\nSec-WebSocket-Origin: injected")],
    "flood": [("Set-Cookie", "c%03d=%s" % (i, "x" * 1000)) for i in range(255)],
    "repeat": [("X-A", "1"), ("x-a", "2"), ("X-B", ""), ("X-A", "1"), ("Upgrade", "again")],
    "number": [("X-Number", 5), (6, None)],
    "unicode": [("X-Umlaut", "\xe4\u20ac")],
    "surrogate": [("X-Bad", "\udc80")],
    "triple": [("X", "1", "2")],
    "list": [["X-List", "1"]],
}


def web_socket_do_extra_handshake(request):
    headers = _HEADERS[request.ws_resource.split("?")[1]]
    if len(headers) == 1:
        request.extra_headers.append(headers[0])
    else:
        request.extra_headers.extend(headers)


def web_socket_transfer_data(request):
    request.ws_stream.send_message("up")
