"""Trick 41: names of Python 2 fail where they are used, and nowhere else."""


def web_socket_do_extra_handshake(request):
    if request.ws_resource.endswith("?unicode"):
        unicode("x")  # noqa: F821
    if request.ws_resource.endswith("?cgi"):
        import cgi

        cgi.parse_qs("a=b")


def web_socket_transfer_data(request):
    for _ in xrange(3):  # noqa: F821
        request.ws_stream.send_message("never")
