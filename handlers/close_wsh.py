"""Closes the connection as the client says: the message "4001 so long" gives code 4001 and reason "so long".

When the client closes, it gets its own code and reason back.
"""

from pywebsocket3 import common


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        code, _, reason = message.partition(" ") if isinstance(message, str) else ("", "", "")
        if code.isdecimal() and _may_be_sent(int(code)):
            request.ws_stream.close_connection(int(code), reason)
            return
        request.ws_stream.send_message('send a close code and a reason, such as "4001 so long"')


def web_socket_passive_closing_handshake(request):
    if request.ws_close_code == common.STATUS_NO_STATUS_RECEIVED:
        return None, ""  # The client gave no code, and so does the answer.
    return request.ws_close_code, request.ws_close_reason


def _may_be_sent(code):
    """RFC 6455, section 7.4: 1004, 1005, 1006 and 1015 never stand in a frame."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999
