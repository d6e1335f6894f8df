"""Greets whoever sends a name. The resource is `/greet`."""

from wshost.typing import Request


def web_socket_do_extra_handshake(request: Request) -> None:
    # Chooses the first subprotocol that is offered, if any is.
    if request.ws_requested_protocols:
        request.ws_protocol = request.ws_requested_protocols[0]


def web_socket_transfer_data(request: Request) -> None:
    while True:
        name = request.ws_stream.receive_message()
        if name is None:
            return
        request.ws_stream.send_message(f"Hello, {name}!")
