"""Calls of the stream that few handlers make, with what the client sent."""

from pywebsocket3 import common, msgutil, stream


class _Own(object):
    """A frame filter and a message filter of a handler's own."""

    def __init__(self, request):
        self.request = request

    def filter(self, what, end=True, binary=False):
        if isinstance(what, stream.Frame):
            self.request.ws_stream._write(b"<%d %d %d>" % (what.opcode, what.fin, what.rsv1))
            return None
        return what


def web_socket_do_extra_handshake(request):
    pass


def _report(request, value):
    request.connection.write(repr(value).encode())


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    ws_stream = request.ws_stream
    if kind == "filtered":
        frame = ws_stream.receive_filtered_frame()
        _report(request, (frame.opcode, frame.payload, frame.fin, frame.rsv1))
    elif kind == "get-message":
        for _ in range(3):
            frame = ws_stream._receive_frame_as_frame_object()
            _report(request, ws_stream._get_message_from_frame(frame))
            _report(request, ws_stream.get_last_received_opcode())
    elif kind == "own-frames":
        frame = stream.Frame(fin=1, opcode=common.OPCODE_TEXT, payload=b"\xff own")
        _report(request, ws_stream._get_message_from_frame(frame))
    elif kind == "process-close":
        frame = ws_stream._receive_frame_as_frame_object()
        ws_stream._process_close_message(frame.payload)
        _report(request, (request.ws_close_code, request.ws_close_reason))
        _report(request, (request.client_terminated, request.server_terminated))
    elif kind == "bytes":
        _report(request, ws_stream.receive_bytes(5))
        _report(request, ws_stream.receive_bytes(0))
        _report(request, request.connection.read(3))
        ws_stream._write(b"written")
    elif kind == "filters":
        ws_stream._options.incoming_frame_filters.append(_Own(request))
        ws_stream._options.outgoing_frame_filters.append(_Own(request))
        ws_stream._options.incoming_message_filters.append(_Own(request))
        message = ws_stream.receive_message()
        ws_stream.send_message(message)
        ws_stream.send_ping("p")
    elif kind == "opcode":
        while True:
            message = msgutil.receive_message(request)
            _report(request, (message, ws_stream.get_last_received_opcode()))
            if message is None:
                return
    elif kind == "closing":
        ws_stream._send_closing_handshake(3333, "low level")
        _report(request, request.server_terminated)
        _report(request, ws_stream.receive_message())
    elif kind == "msgutil-close":
        msgutil.close_connection(request)
        _report(request, (request.client_terminated, request.ws_close_code, request.ws_close_reason))
    elif kind == "errors":
        while True:
            try:
                message = ws_stream.receive_message()
                _report(request, message)
                if message is None:
                    return
            except msgutil.InvalidFrameException:
                _report(request, "InvalidFrameException")
            except (msgutil.BadOperationException, msgutil.ConnectionTerminatedException) as error:
                _report(request, type(error).__name__)
                raise
            except Exception as error:
                _report(request, type(error).__name__)
