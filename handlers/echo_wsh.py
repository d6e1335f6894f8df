"""Sends every message back as it came: text as text, binary as binary.

A client that offers subprotocols gets its first one; without a choice the opening handshake would fail.
"""


def web_socket_do_extra_handshake(request):
    if request.ws_requested_protocols:
        request.ws_protocol = request.ws_requested_protocols[0]


def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:  # The client closed the connection.
            return
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
