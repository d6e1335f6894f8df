"""Trick 31: values that a passive handler may return."""

import journal
from pywebsocket3 import common

_VALUES = {
    "echo": None,
    "none-none": (None, None),
    "none-empty": (None, ""),
    "none-reason": (None, "dropped"),
    "code-none": (1000, None),
    "reason": (1000, "received 5 bytes"),
    "pseudo": (common.STATUS_NO_STATUS_RECEIVED, ""),
    "too-big": (5000, ""),
    "too-small": (999, ""),
    "string": ("1000", ""),
    "bytes": (1000, b"bytes"),
    "long": (1000, "r" * 124),
    "list": [4567, "list"],
    "triple": (1000, "", ""),
    "return-none": None,
}


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    try:
        while request.ws_stream.receive_message() is not None:
            pass
    except Exception as error:
        journal.note(type(error).__name__)
        raise
    journal.note("closed", request.client_terminated, request.server_terminated)


def web_socket_passive_closing_handshake(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "echo":
        return request.ws_close_code, request.ws_close_reason
    return _VALUES[kind]
