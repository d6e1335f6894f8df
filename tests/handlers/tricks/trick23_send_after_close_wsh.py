"""Trick 23: loops that go on after the close are ended by the next send, without a second close frame."""

import journal
from mod_pywebsocket import msgutil


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "echo":
        while True:
            msgutil.send_message(request, msgutil.receive_message(request))
    while msgutil.receive_message(request) is not None:
        pass
    for message, binary in ((None, False), ("text", True), (b"bytes", False), (5, False)):
        try:
            request.ws_stream.send_message(message, binary=binary)
        except Exception as error:
            journal.note(type(error).__name__)
    try:
        request.ws_stream.receive_message()
    except msgutil.BadOperationException as error:
        journal.note("receive:", type(error).__name__)
    request.ws_stream.close_connection(4000, "not sent")
    journal.note("closing twice is fine")
