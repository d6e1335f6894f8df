"""Trick 36: what a handler finds around it."""

import os

_executed = []
_executed.append(1)


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "cwd":
        documents = os.environ["WSHOST_REFERENCE_DOCUMENTS"]
        request.ws_stream.send_message(repr(os.path.samefile(".", documents)))
    elif kind == "relative":
        try:
            exec("from . import sibling", globals())
        except Exception:
            request.ws_stream.send_message("refused")
    elif kind == "once":
        request.ws_stream.send_message(repr(_executed))
    elif kind == "module":
        request.ws_stream.send_message(os.path.basename(globals().get("__file__", "none")))
