"""Closes as the query says: `?CODE,REASON`; `?drop` drops it after a message, `?empty` sends no code."""

from urllib.parse import unquote


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    how = unquote(request.ws_resource.partition("?")[2])
    if how == "drop":
        request.ws_stream.receive_message()
        raise RuntimeError("the handler fails, as asked")
    if how == "empty":
        request.ws_stream.close_connection(None, "")
        return
    code, _, reason = how.partition(",")
    request.ws_stream.send_message("soon")
    request.ws_stream.close_connection(int(code), reason)
