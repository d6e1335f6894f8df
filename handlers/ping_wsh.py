"""Pings the client with each message and tells how long the pong took, in milliseconds.

The pong is taken in while the handler waits for the next message, on the handler's own thread.
"""

import time


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    sent = []

    def pong(request, _body):
        if sent:
            took = (time.perf_counter() - sent.pop(0)) * 1000
            request.ws_stream.send_message(f"pong after {took:.3f} ms")

    request.on_pong_handler = pong
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        body = message.encode("utf-8") if isinstance(message, str) else message
        sent.append(time.perf_counter())
        # A ping carries 125 bytes at most (RFC 6455, section 5.5).
        request.ws_stream.send_ping(body[:125])
