"""Writes the bytes that the query gives in hexadecimal, past all framing."""


def web_socket_do_extra_handshake(request):
    request.ws_extension_processors = []


def web_socket_transfer_data(request):
    request.connection.write(bytes.fromhex(request.ws_resource.partition("?")[2]))
    while request.ws_stream.receive_message() is not None:
        pass
