"""Echoes messages and tells about the close; `?fragments=N` sends in N pieces, `?quiet` answers with sizes."""

from pywebsocket3 import msgutil


def web_socket_do_extra_handshake(request):
    if "protocol" in request.ws_resource:
        request.ws_protocol = request.ws_requested_protocols[0]
    for processor in request.ws_extension_processors:
        if "client_bits" in request.ws_resource:
            processor.set_client_max_window_bits(9)
        if "client_takeover" in request.ws_resource:
            processor.set_client_no_context_takeover(True)


def web_socket_transfer_data(request):
    for processor in request.ws_extension_processors:
        if "bfinal" in request.ws_resource:
            processor.set_bfinal(True)
        if "plain" in request.ws_resource:
            processor.disable_outgoing_compression()
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        binary = isinstance(message, bytes)
        if "quiet" in request.ws_resource:
            msgutil.send_message(request, "%d %s" % (len(message), binary))
        elif "fragments" in request.ws_resource:
            middle = len(message) // 2
            msgutil.send_message(request, message[:middle], False, binary)
            msgutil.send_message(request, message[middle:], True, binary)
        else:
            msgutil.send_message(request, message, True, binary)


def web_socket_passive_closing_handshake(request):
    code, reason = request.ws_close_code, request.ws_close_reason
    if code == 1005:
        return None, None
    if "report" in request.ws_resource:
        request.ws_stream.send_message("%r %r" % (code, reason))
        return 1000, ""
    return code, reason
