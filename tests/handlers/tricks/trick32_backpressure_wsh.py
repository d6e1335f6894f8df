"""Trick 32: a send blocks while the client does not read; nothing is read that the handler did not ask for."""

import threading

import journal

_MESSAGE = b"m" * (1 << 20)
_sent = 0
_go_on = threading.Event()


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    global _sent
    kind = request.ws_resource.split("?")[1]
    if kind == "send":
        _sent = 0
        for _ in range(16):
            request.ws_stream.send_message(_MESSAGE, binary=True)
            _sent += 1
        journal.note("sent", _sent)
    elif kind == "sent":
        request.ws_stream.send_message("all" if _sent == 16 else "some")
    elif kind == "receive":
        _go_on.clear()
        request.ws_stream.send_message("not reading")
        _go_on.wait(10)
    elif kind == "go":
        _go_on.set()
