"""Trick 28: messages hold the bytes of frames; goes on after the close until the send is refused."""

from pywebsocket3 import msgutil


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while True:
        message = msgutil.receive_message(request)
        if message is None:
            msgutil.send_message(request, message)
        request.connection.write(message)
