"""Refuses each opening handshake, with the status of the query or in a way that a browser must not take."""

from pywebsocket3.handshake import HandshakeException


def web_socket_do_extra_handshake(request):
    how = request.ws_resource.partition("?")[2]
    if how == "protocol":
        request.ws_protocol = "never-offered"
        return
    raise HandshakeException("refused, as asked", status=int(how))


def web_socket_transfer_data(request):
    pass
