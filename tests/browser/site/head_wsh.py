"""Sends a field of the opening handshake's head, named in the query; sets a cookie."""


def web_socket_do_extra_handshake(request):
    request.extra_headers.append(("Set-Cookie", "flavour=oat; Path=/"))
    request.extra_headers.append(("Set-Cookie", "secret=1; Path=/; HttpOnly"))


def web_socket_transfer_data(request):
    name = request.ws_resource.partition("?")[2]
    request.ws_stream.send_message(request.headers_in.get(name, "(none)"))
