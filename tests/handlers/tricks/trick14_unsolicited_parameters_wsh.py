"""Trick 14: parameters added to the client's offer change the answer, which is made afterwards."""

from mod_pywebsocket.extensions import PerMessageDeflateExtensionProcessor


def web_socket_do_extra_handshake(request):
    for processor in request.ws_extension_processors:
        if isinstance(processor, PerMessageDeflateExtensionProcessor):
            processor._request.add_parameter("server_max_window_bits", "15")
            processor._request.add_parameter("server_no_context_takeover", None)


def web_socket_transfer_data(request):
    request.ws_stream.send_message("Hello Hello Hello")
    request.ws_stream.send_message("Hello Hello Hello")
