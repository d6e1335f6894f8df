"""Trick 4: writes in the opening handshake until the client is gone; costs this thread only."""

import journal


def web_socket_do_extra_handshake(request):
    if request.ws_resource.endswith("?ok"):
        return
    try:
        while True:
            request.connection.write(b"\0" * 4096)
    except OSError:
        journal.note("write failed with an OSError")
        raise


def web_socket_transfer_data(request):
    request.ws_stream.send_message("alive")
