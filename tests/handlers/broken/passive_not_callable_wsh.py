"""Loads all the same: the passive handler that cannot be called is replaced by the default."""

web_socket_passive_closing_handshake = 5


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    request.ws_stream.receive_message()
