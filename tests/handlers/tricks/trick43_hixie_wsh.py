"""Trick 43: leftovers of the first drafts of the protocol fail cleanly."""

from mod_pywebsocket.handshake.hybi import compute_accept


def web_socket_do_extra_handshake(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "challenge":
        request.ws_challenge_md5 + request.ws_challenge
    elif kind == "tuple":
        accept = compute_accept(request.headers_in["Sec-WebSocket-Key"].encode())[0]
        request.connection.write(b"Sec-WebSocket-Accept: " + accept)
    elif kind == "location":
        request.ws_location = "ws://" + request.headers_in["Host"] + request.ws_resource


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "location":
        request.ws_stream.send_message(request.ws_location)
    else:
        request.ws_stream.send_message(request.ws_challenge)
