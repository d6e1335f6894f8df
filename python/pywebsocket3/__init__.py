"""pywebsocket3: the API that WebSocket handlers (`*_wsh.py`) are written for, on wshost.

A handler file defines three functions, each called with a `request`:

    web_socket_do_extra_handshake(request)
        Called during the opening handshake. It may look at `request.ws_resource`,
        `ws_origin`, `ws_requested_protocols`, `headers_in`, choose one of the offered
        subprotocols (`request.ws_protocol = ...`), add to `request.extra_headers`, or
        refuse the connection by raising an exception.

    web_socket_transfer_data(request)
        Called once the connection is open. `request.ws_stream.receive_message()` gives
        `str`, `bytes`, or `None` when the peer has closed; `request.ws_stream.send_message()`
        sends. Returning closes the connection.

    web_socket_passive_closing_handshake(request)
        Optional. Called when the peer closes; returns the code and the reason to answer
        with. `request.ws_close_code` and `request.ws_close_reason` say what the peer sent.

The file for the resource `/a/b` is `a/b_wsh.py` below the handler root. Each file runs once per
server (again when it is saved); its functions are called from many threads.
"""
