"""Trick 24: a str as a binary message is refused."""

from pywebsocket3 import msgutil


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    message = request.ws_stream.receive_message()
    msgutil.send_message(request, message, True, True)
