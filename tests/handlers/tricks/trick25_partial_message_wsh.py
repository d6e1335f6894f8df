"""Trick 25: frame by frame, nothing assembled and nothing read ahead."""

import journal
from mod_pywebsocket import stream  # noqa: F401


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    opcode, payload, fin, rsv1, rsv2, rsv3 = request.ws_stream._receive_frame()
    journal.note(opcode, payload, fin, rsv1, rsv2, rsv3)
    if request.ws_resource.endswith("?raw"):
        # What follows the frame is still in the socket.
        request.connection.write(repr(request.connection.read(4)).encode())
    if request.ws_resource.endswith("?object"):
        frame = request.ws_stream._receive_frame_as_frame_object()
        journal.note(frame.opcode, frame.payload, frame.fin, frame.rsv1, frame.rsv2, frame.rsv3)
