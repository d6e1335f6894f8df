"""Gives what one connection sends to all others: the same file for wshost and for pywebsocket3."""

_joined = []


def web_socket_do_extra_handshake(request):
    """Accepts every request."""


def web_socket_transfer_data(request):
    """Answers "join", and sends every other message to all connections that have joined."""
    try:
        while True:
            message = request.ws_stream.receive_message()
            if message is None:
                return
            if message == "join":
                _joined.append(request)
                request.ws_stream.send_message("joined")
            else:
                for listener in list(_joined):
                    listener.ws_stream.send_message(message)
    finally:
        # The next round's messages are not for those of this one.
        if request in _joined:
            _joined.remove(request)
