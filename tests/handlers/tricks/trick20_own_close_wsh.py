"""Trick 20: close frames by hand; the two `terminated` flags steer what the server adds."""

import journal
from mod_pywebsocket import msgutil, stream


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "server":
        body = stream.create_closing_handshake_body(4321, "by hand")
        request.connection.write(stream.create_close_frame(body))
        request.server_terminated = True
        message = request.ws_stream.receive_message()
        journal.note(message, request.ws_close_code, request.ws_close_reason, request.client_terminated)
    elif kind == "client":
        frame = request.ws_stream.receive_bytes(6)
        journal.note(len(frame))
        request.connection.write(stream.create_close_frame(b""))
        request.client_terminated = True
    elif kind == "both":
        request.client_terminated = True
        request.server_terminated = True
        try:
            msgutil.receive_message(request)
        except msgutil.BadOperationException as error:
            journal.note(type(error).__name__)
    elif kind == "client-only":
        request.client_terminated = True
        request.ws_stream.send_message("still sends")
