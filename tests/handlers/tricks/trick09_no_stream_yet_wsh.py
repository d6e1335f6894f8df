"""Trick 9: there is no `ws_stream` before the opening handshake is over."""

import journal
from pywebsocket3 import msgutil


def web_socket_do_extra_handshake(request):
    journal.note("stream before", hasattr(request, "ws_stream"), hasattr(request, "server_terminated"))
    if request.ws_resource.endswith("?send"):
        msgutil.send_message(request, "too early")
    if request.ws_resource.endswith("?close"):
        request.ws_stream.close_connection(0, "too early")


def web_socket_transfer_data(request):
    journal.note("stream in transfer", hasattr(request, "ws_stream"), request.server_terminated)
