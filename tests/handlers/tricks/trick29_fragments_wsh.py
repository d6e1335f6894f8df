"""Trick 29: messages sent in fragments, third and fourth argument positional."""

from mod_pywebsocket import msgutil


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "text":
        msgutil.send_message(request, "First ", False)
        msgutil.send_message(request, "", False)
        msgutil.send_message(request, "last", True)
        msgutil.send_message(request, "", True, False)
    elif kind == "binary":
        msgutil.send_message(request, b"\xff1", False, True)
        msgutil.send_message(request, b"", False, True)
        msgutil.send_message(request, b"", True, True)
    elif kind == "mixed":
        msgutil.send_message(request, "text", False, False)
        msgutil.send_message(request, b"bytes", True, True)
    elif kind == "ping-between":
        msgutil.send_message(request, "a", False)
        request.ws_stream.send_ping("p")
        msgutil.send_message(request, "b")
    elif kind == "unfinished":
        msgutil.send_message(request, "a", False)
    elif kind == "keywords":
        request.ws_stream.send_message(message=b"k", end=1, binary=1)
        request.ws_stream.send_message("", end=0)
        request.ws_stream.send_message("k", end=[1], binary="")
