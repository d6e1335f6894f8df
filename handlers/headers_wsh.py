"""Sends what the server knows about the connection, as JSON, and closes.

The answer to the opening handshake carries a header of the handler's own: X-Handler.
"""

import json


def web_socket_do_extra_handshake(request):
    request.extra_headers.append(("X-Handler", "headers"))
    if request.ws_requested_protocols:
        request.ws_protocol = request.ws_requested_protocols[0]


def web_socket_transfer_data(request):
    request.ws_stream.send_message(
        json.dumps(
            {
                "resource": request.ws_resource,
                "origin": request.ws_origin,
                "version": request.ws_version,
                "subprotocol": request.ws_protocol,
                "extensions": [extension.name() for extension in request.ws_extensions or []],
                "client": request.connection.remote_addr[0],
                "headers": dict(request.headers_in.items()),
            },
            indent=2,
        )
    )
