web_socket_do_extra_handshake = True


def web_socket_transfer_data(request):
    pass
