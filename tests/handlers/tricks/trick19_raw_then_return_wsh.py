"""Trick 19: after raw bytes the server's own close frame still follows."""

from pywebsocket3 import common, stream


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    header = stream.create_header(
        opcode=common.OPCODE_CLOSE, payload_length=2, fin=1, rsv1=1, rsv2=0, rsv3=0, mask=0
    )
    request.connection.write(header + b"\x03\xe8")
