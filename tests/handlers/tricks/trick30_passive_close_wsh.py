"""Trick 30: the passive handler closes by itself, and aborts."""

import struct
import threading

from mod_pywebsocket import handshake, stream

_go_on = threading.Event()


def web_socket_do_extra_handshake(request):
    if request.ws_resource.endswith("?go"):
        _go_on.set()


def web_socket_transfer_data(request):
    while request.ws_stream.receive_message() is not None:
        pass


def web_socket_passive_closing_handshake(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "own-code":
        frame = stream.create_close_frame(struct.pack("!H", 3004) + b"split")
        request.connection.write(frame[:1])
        request.connection.write(frame[1:])
    elif kind == "wait":
        _go_on.clear()
        request.connection.write(stream.create_close_frame(b""))
        # The connection stays open until another client says go.
        if not _go_on.wait(10):
            raise AssertionError("the other connection never came")
        request.connection.write(b"late")
    elif kind == "return":
        return 3005, "returned"
    elif kind == "raise":
        raise ValueError("in the passive handler")
    elif kind == "close":
        request.ws_stream.close_connection(4001, "inside")
        return 4002, "outside"
    elif kind == "send":
        request.ws_stream.send_message("one more")
        return 1000, ""
    elif kind == "go":
        return 1000, ""
    raise handshake.AbortedByUserException("closed by hand")
