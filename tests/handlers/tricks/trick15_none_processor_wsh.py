"""Trick 15: the list of processors may hold `None`."""

from pywebsocket3.extensions import PerMessageDeflateExtensionProcessor


def _processor(request):
    for processor in request.ws_extension_processors:
        if isinstance(processor, PerMessageDeflateExtensionProcessor):
            return processor
    return None


def web_socket_do_extra_handshake(request):
    request.ws_extension_processors = [_processor(request)]


def web_socket_transfer_data(request):
    request.ws_extension_processors[0].set_bfinal(True)
    request.ws_stream.send_message("final")
