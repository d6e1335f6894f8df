"""Tells each watcher with which code and reason a client of `?watched` was closed."""

import queue

closings = queue.Queue()


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    if request.ws_resource.endswith("?watched"):
        while request.ws_stream.receive_message() is not None:
            pass
        closings.put(f"{request.ws_close_code} {request.ws_close_reason}")
        return
    request.ws_stream.send_message(closings.get(timeout=30))
