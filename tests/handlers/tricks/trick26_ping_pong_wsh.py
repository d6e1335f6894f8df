"""Trick 26: a ping whose pong is read raw, and a pong that nobody asked for."""

from pywebsocket3 import common, msgutil


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "raw":
        msgutil.send_ping(request, "")
        opcode, payload, _, _, _, _ = request.ws_stream._receive_frame()
        request.ws_stream.send_message("%s %r" % (opcode == common.OPCODE_PONG, payload))
    elif kind == "pong":
        request.ws_stream._send_pong(b"{unsolicited}")
    elif kind == "handlers":
        request.on_ping_handler = lambda r, m: r.ws_stream.send_message("ping %r" % (m,))
        request.on_pong_handler = lambda r, m: r.ws_stream.send_message("pong %r" % (m,))
        request.ws_stream.send_ping("one")
        request.ws_stream.send_ping(b"\xff two", binary=True)
        request.ws_stream.send_message(repr(request.ws_stream.receive_message()))
    elif kind == "big":
        request.ws_stream.send_ping("p" * 126)
    elif kind == "big-pong":
        request.ws_stream._send_pong(b"p" * 126)
    elif kind == "bad-handler":
        request.on_ping_handler = lambda r, m: r.no_such_attribute
        request.ws_stream.send_message(repr(request.ws_stream.receive_message()))
