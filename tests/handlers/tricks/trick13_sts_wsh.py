"""Trick 13: Firefox's own `request.sts`."""

import journal


def web_socket_do_extra_handshake(request):
    journal.note("sts is", getattr(request, "sts", "missing"))
    if request.ws_resource.endswith("?set"):
        request.sts = "max-age=100"
    request.extra_headers.append(("X-Last", "1"))


def web_socket_transfer_data(request):
    pass
