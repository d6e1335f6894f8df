"""Trick 39: six is there."""

import six
from six.moves import range, urllib
from six.moves.urllib import parse


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    query = parse.parse_qs(urllib.parse.urlparse(request.uri).query)
    request.ws_stream.send_message(repr((six.text_type, six.binary_type, list(range(2)), query)))
    request.ws_stream.send_message(six.ensure_text(b"ensured"))
