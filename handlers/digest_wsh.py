"""Answers each message with its kind, size and SHA-256, which tells whether large ones arrive whole."""

import hashlib


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        kind = "binary"
        if isinstance(message, str):
            kind, message = "text", message.encode("utf-8")
        request.ws_stream.send_message(f"{kind} {len(message)} {hashlib.sha256(message).hexdigest()}")
