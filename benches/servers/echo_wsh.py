"""Sends everything back: the same file for wshost and for pywebsocket3."""


def web_socket_do_extra_handshake(request):
    """Accepts every request."""


def web_socket_transfer_data(request):
    """Sends each message back as what it was, until the client closes."""
    stream = request.ws_stream
    while True:
        message = stream.receive_message()
        if message is None:
            return
        stream.send_message(message, binary=isinstance(message, bytes))
