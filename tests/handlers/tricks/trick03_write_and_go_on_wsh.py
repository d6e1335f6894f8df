"""Trick 3: bytes written before the server's own 101, which follows on the same socket."""

from mod_pywebsocket import msgutil


def web_socket_do_extra_handshake(request):
    if request.ws_resource.endswith("?str"):
        request.connection.write("str is no bytes")
    request.connection.write(b"FOO BAR BAZ\r\n\r\n")


def web_socket_transfer_data(request):
    msgutil.send_message(request, "after")
