def web_socket_do_extra_handshake(request):
    print "Python 2"


def web_socket_transfer_data(request):
    pass
