"""Trick 10: what a handler may make of the offered subprotocols."""


def web_socket_do_extra_handshake(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "hide":
        request.ws_requested_protocols = None
    elif kind == "unasked":
        request.ws_protocol = "unasked"
    elif kind == "copy":
        request.ws_protocol = request.headers_in["Sec-WebSocket-Protocol"]
    elif kind == "upper":
        request.ws_protocol = request.ws_requested_protocols[0].upper()
    elif kind == "last":
        request.ws_protocol = request.ws_requested_protocols[-1]
    elif kind == "empty":
        request.ws_protocol = ""
    elif kind == "space":
        request.ws_protocol = "a b"
    elif kind == "non-ascii":
        request.ws_protocol = "a\xe4"
    elif kind == "number":
        request.ws_protocol = 5


def web_socket_transfer_data(request):
    request.ws_stream.send_message("%r %r" % (request.ws_protocol, request.ws_requested_protocols))
