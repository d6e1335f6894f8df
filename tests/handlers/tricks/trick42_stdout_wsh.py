"""Trick 42: handlers print."""

import sys


def web_socket_do_extra_handshake(request):
    print("printed in the handshake of", request.ws_resource)


def web_socket_transfer_data(request):
    sys.stdout.write("written in the transfer of %s\n" % request.ws_resource)
    sys.stdout.flush()
    sys.stderr.write("complained in the transfer of %s\n" % request.ws_resource)
    request.ws_stream.send_message("printed")
