# Säge: no coding line, as in three handlers of WebKit

_WORD = u"Grüße"


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    request.ws_stream.send_message(_WORD)
