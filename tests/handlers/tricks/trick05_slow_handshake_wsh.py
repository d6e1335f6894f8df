"""Trick 5: an opening handshake that takes its time, byte by byte; another connection ends the wait."""

import threading

_go_on = threading.Event()


def web_socket_do_extra_handshake(request):
    if request.ws_resource.endswith("?go"):
        _go_on.set()
        return
    _go_on.clear()
    request.connection.write(b"x")
    request.connection.write(b"y")
    if not _go_on.wait(10):
        raise AssertionError("the other connection never came")


def web_socket_transfer_data(request):
    request.ws_stream.send_message("done")
