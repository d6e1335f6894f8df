"""Tells what the objects of a connection are, in each of the three functions, as JSON."""

import json

from pywebsocket3 import common, extensions, handshake, msgutil, stream

_REQUEST = (
    "ws_resource", "ws_origin", "ws_version", "ws_protocol", "ws_requested_protocols", "ws_requested_extensions",
    "ws_extensions", "ws_extension_processors", "ws_close_code", "ws_close_reason", "extra_headers",
    "uri", "unparsed_uri", "method", "protocol", "client_terminated", "server_terminated", "on_ping_handler",
    "on_pong_handler", "headers_in", "connection", "ws_stream", "_dispatcher", "headers_out", "status", "ws_location",
    "ws_challenge",
)  # fmt: skip
_GETTERS = ("get_uri", "get_unparsed_uri", "get_method", "get_protocol", "is_https")
_CONNECTION = ("write", "read", "remote_addr", "local_addr", "get_memorized_lines", "get_remote_addr", "get_local_addr")
_STREAM = (
    "receive_message", "send_message", "close_connection", "send_ping", "get_last_received_opcode", "receive_bytes",
    "receive_filtered_frame", "_receive_frame", "_receive_frame_as_frame_object", "_get_message_from_frame",
    "_process_close_message", "_write", "_send_pong", "_send_closing_handshake", "_options",
)  # fmt: skip
_PLAIN = (str, int, bool, type(None), bytes)


def _show(value):
    """A value that is the same in both servers, or its kind."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return [type(value).__name__] + [_show(item) for item in value]
    if isinstance(value, common.ExtensionParameter):
        return ["extension", value.name(), _show(value.get_parameters())]
    if isinstance(value, extensions.ExtensionProcessorInterface):
        return ["processor", value.name(), value.is_active(), _show(value.request())]
    return "callable" if callable(value) else "object"


def _attributes(thing, names):
    return {name: _show(getattr(thing, name)) if hasattr(thing, name) else "missing" for name in names}


def _outcome(call):
    try:
        return _show(call())
    except Exception as error:
        return type(error).__name__


def _call_all(thing, names):
    return {name: _outcome(getattr(thing, name)) if hasattr(thing, name) else "missing" for name in names}


def _headers(headers):
    return {
        "missing item": _outcome(lambda: headers["X-Not-There"]),
        "missing get": _outcome(lambda: headers.get("X-Not-There")),
        "missing default": _outcome(lambda: headers.get("X-Not-There", "default")),
        "lower": _outcome(lambda: headers["sec-websocket-key"]),
        "upper": _outcome(lambda: headers.get("HOST")),
        "in": _outcome(lambda: "host" in headers),
        "not in": _outcome(lambda: "x-not-there" in headers),
        "items": sorted(_show(headers.items())[1:], key=str) if isinstance(headers.items(), list) else "no list",
        "dict": sorted(dict(headers)),
        "keys": _outcome(lambda: list(headers.keys())),
        "values": _outcome(lambda: list(headers.values())),
        "iter": _outcome(lambda: list(headers)),
        "len": _outcome(lambda: len(headers)),
        "get_all": _outcome(lambda: headers.get_all("X-Twice")),
        "get_all missing": _outcome(lambda: headers.get_all("X-Not-There")),
        "first of two": _outcome(lambda: headers["X-Twice"]),
        "empty": _outcome(lambda: headers["X-Empty"]),
        "spaces": _outcome(lambda: headers["X-Spaces"]),
        "non-ascii": _outcome(lambda: headers["X-Latin"]),
        "has_key": _outcome(lambda: headers.has_key),
        "getheader": _outcome(lambda: headers.getheader),
    }


def _bag(request):
    """The request takes whatever a handler hangs on it, and is a key."""
    request.own = {"any": "thing"}
    members = {request: 1}
    return [
        request.own is request.own,
        members[request],
        request in {request},
        request == request,
        hash(request) == hash(request),
        _outcome(lambda: delattr(request, "own")),
        hasattr(request, "own"),
    ]


def _wrong_calls(request):
    connection = request.connection
    return {
        "write str": _outcome(lambda: connection.write("text")),
        "write none": _outcome(lambda: connection.write(None)),
        "write int": _outcome(lambda: connection.write(5)),
        "write nothing": _outcome(lambda: connection.write()),
        "write empty": _outcome(lambda: connection.write(b"")),
        "read": _outcome(lambda: connection.read()),
        "read str": _outcome(lambda: connection.read("1")),
        "read float": _outcome(lambda: connection.read(1.5)),
        "read 0": _outcome(lambda: connection.read(0)),
        "uri": _outcome(lambda: setattr(request, "uri", "/x")),
        "method": _outcome(lambda: setattr(request, "method", "POST")),
        "protocol": _outcome(lambda: setattr(request, "protocol", "HTTP/2")),
        "remote_addr": _outcome(lambda: setattr(connection, "remote_addr", 1)),
    }


def _addresses(connection):
    return {
        "remote": [type(connection.remote_addr).__name__, connection.remote_addr[0], len(connection.remote_addr)],
        "local": [type(connection.local_addr).__name__, len(connection.local_addr), connection.local_addr[0]],
        "port": type(connection.local_addr[1]).__name__,
        "same": connection.get_remote_addr() == connection.remote_addr,
    }


def _report(request, where):
    return {
        "where": where,
        "request": _attributes(request, _REQUEST),
        "getters": _call_all(request, _GETTERS),
        "connection": {name: hasattr(request.connection, name) for name in _CONNECTION},
        "lines": _show(request.connection.get_memorized_lines()),
        "headers": _headers(request.headers_in),
        "bag": _bag(request),
    }


def _stream(request):
    ws_stream = request.ws_stream
    options = ws_stream._options
    names = ("outgoing_frame_filters", "incoming_frame_filters", "outgoing_message_filters", "incoming_message_filters")
    return {
        "methods": _attributes(ws_stream, _STREAM),
        "filters": {name: len(getattr(options, name)) for name in names},
        "flags": _attributes(options, ("encode_text_message_to_utf8", "mask_send", "unmask_receive")),
        "last opcode": _outcome(ws_stream.get_last_received_opcode),
        "own attribute": _outcome(lambda: setattr(ws_stream, "own", 1)),
        "is a stream": isinstance(ws_stream, stream.Stream),
        "wrong calls": {
            "send nothing": _outcome(lambda: ws_stream.send_message()),
            "send none": _outcome(lambda: ws_stream.send_message(None)),
            "send int": _outcome(lambda: ws_stream.send_message(5)),
            "send bytes as text": _outcome(lambda: ws_stream.send_message(b"bytes")),
            "send str as binary": _outcome(lambda: ws_stream.send_message("str", binary=True)),
            "send surrogate": _outcome(lambda: ws_stream.send_message("\udc80")),
            "ping none": _outcome(lambda: ws_stream.send_ping(None)),
            "ping big": _outcome(lambda: ws_stream.send_ping("p" * 126)),
            "ping str as binary": _outcome(lambda: ws_stream.send_ping("p", binary=True)),
            "pong str": _outcome(lambda: ws_stream._send_pong("p")),
            "close int": _outcome(lambda: ws_stream.close_connection(1000, 5)),
            "close none": _outcome(lambda: ws_stream.close_connection(1000, None)),
            "close bytes": _outcome(lambda: ws_stream.close_connection(1000, b"bytes")),
            "close code": _outcome(lambda: ws_stream.close_connection(1005)),
            "close str": _outcome(lambda: ws_stream.close_connection("1000")),
            "close long": _outcome(lambda: ws_stream.close_connection(1000, "r" * 124)),
            "close reason only": _outcome(lambda: ws_stream.close_connection(None, "r")),
            "bytes": _outcome(lambda: ws_stream.receive_bytes(0)),
            "bytes str": _outcome(lambda: ws_stream.receive_bytes("1")),
            "write str": _outcome(lambda: ws_stream._write("text")),
        },
        "after them": [request.client_terminated, request.server_terminated],
    }


def web_socket_do_extra_handshake(request):
    kind = request.ws_resource.split("?")[1]
    if request.ws_requested_protocols:
        request.ws_protocol = request.ws_requested_protocols[0]
    request.handshake_report = _report(request, "handshake")
    request.first_request = request
    if kind == "wrong":
        request.connection.write(json.dumps(_wrong_calls(request), sort_keys=True).encode())
        raise handshake.AbortedByUserException("reported")


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "handshake":
        request.connection.write(json.dumps(request.handshake_report, sort_keys=True).encode() + b"\r\n\r\n")
    elif kind == "transfer":
        report = _report(request, "transfer")
        report["same request"] = request.first_request is request
        request.connection.write(json.dumps(report, sort_keys=True).encode() + b"\r\n\r\n")
    elif kind == "addresses":
        request.connection.write(json.dumps(_addresses(request.connection), sort_keys=True).encode() + b"\r\n\r\n")
    elif kind == "stream":
        request.connection.write(json.dumps(_stream(request), sort_keys=True).encode() + b"\r\n\r\n")
    else:
        msgutil.receive_message(request)


def web_socket_passive_closing_handshake(request):
    if request.ws_resource.endswith("?passive"):
        report = _report(request, "passive")
        report["same request"] = request.first_request is request
        request.connection.write(json.dumps(report, sort_keys=True).encode() + b"\r\n\r\n")
    return request.ws_close_code, request.ws_close_reason
