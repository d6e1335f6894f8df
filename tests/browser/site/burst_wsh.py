"""Sends as many numbered messages as the query says, then closes."""


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    for number in range(int(request.ws_resource.partition("?")[2])):
        request.ws_stream.send_message(str(number))
