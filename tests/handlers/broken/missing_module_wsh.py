import no_such_module_at_all


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    pass
