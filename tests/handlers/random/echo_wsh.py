"""Echoes messages. At its end it notes all that it saw: messages, pongs, the close frame, the exception."""

from journal import note


def web_socket_do_extra_handshake(request):
    request.seen = []
    request.on_pong_handler = lambda _, payload: request.seen.append("pong %r" % payload)


def web_socket_transfer_data(request):
    try:
        while True:
            message = request.ws_stream.receive_message()
            request.seen.append("message %s" % short(message))
            if message is None:
                break
            request.ws_stream.send_message(message, binary=isinstance(message, bytes))
    except BaseException as error:
        request.seen.append("raised %s: %s" % (type(error).__name__, error))
        raise
    finally:
        note("\n".join(request.seen))


def web_socket_passive_closing_handshake(request):
    request.seen.append("close %r %r" % (request.ws_close_code, request.ws_close_reason))
    return (None, None) if request.ws_close_code == 1005 else (request.ws_close_code, request.ws_close_reason)


def short(message):
    """Enough of a message to tell it from others."""
    return (
        ascii(message)
        if message is None or len(message) < 200
        else "%d %s..." % (len(message), ascii(message[:200]))
    )
