def web_socket_do_extra_handshake(request):
    print "Python 2"


def web_socket_transfer_data(request):
    pass


# No Python at all: otherwise wshost would convert the file and serve it where it has fissix.
exec "print 1" in <>
