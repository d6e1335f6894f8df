"""Trick 33: the connection drops while a handler waits; its `finally` runs."""

import journal
from mod_pywebsocket import msgutil


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    try:
        request.ws_stream.send_message("waiting")
        message = request.ws_stream.receive_message()
        while message is not None:
            message = request.ws_stream.receive_message()
        journal.note("closed")
    except msgutil.ConnectionTerminatedException as error:
        journal.note(type(error).__name__, request.client_terminated, request.server_terminated)
        raise
    finally:
        journal.note("finally")
