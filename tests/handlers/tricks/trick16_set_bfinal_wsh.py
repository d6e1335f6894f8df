"""Trick 16: `set_bfinal` before the extensions are set up, and after."""

import journal


def web_socket_do_extra_handshake(request):
    for processor in request.ws_extension_processors:
        for call in (
            lambda: processor.set_bfinal(True),
            processor.enable_outgoing_compression,
            processor.disable_outgoing_compression,
        ):
            try:
                call()
            except AttributeError:
                journal.note("AttributeError")
            else:
                journal.note("no error")


def web_socket_transfer_data(request):
    stream = request.ws_stream
    (processor,) = request.ws_extension_processors
    stream.send_message("plain")
    processor.set_bfinal(True)
    stream.send_message("final final final")
    stream.send_message("final again")
    processor.set_bfinal(False)
    stream.send_message("not final")
    processor.disable_outgoing_compression()
    stream.send_message("not compressed")
    processor.enable_outgoing_compression()
    stream.send_message("compressed")
