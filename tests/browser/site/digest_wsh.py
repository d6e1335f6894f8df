"""Answers each message with its size and SHA-256, then sends it back; never compressed."""

import hashlib


def web_socket_do_extra_handshake(request):
    request.ws_extension_processors = []


def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        request.ws_stream.send_message(f"{len(message)} {hashlib.sha256(message).hexdigest()}")
        request.ws_stream.send_message(message, binary=True)
