"""Tells what the modules offer: each name, each constant, the outcome of each call."""

import json

from pywebsocket3 import common, extensions, handshake, http_header_util, msgutil, stream, util
from pywebsocket3.handshake import base, hybi

_MODULES = {
    "common": (common, None),
    "msgutil": (
        msgutil,
        (
            "close_connection", "send_message", "receive_message", "send_ping", "MessageReceiver", "MessageSender",
            "ConnectionTerminatedException", "InvalidFrameException", "BadOperationException",
            "UnsupportedFrameException",
        ),
    ),
    "stream": (
        stream,
        (
            "Frame", "create_length_header", "create_header", "create_binary_frame", "create_text_frame", "parse_frame",
            "FragmentedFrameBuilder", "create_ping_frame", "create_pong_frame", "create_close_frame",
            "create_closing_handshake_body", "StreamOptions", "Stream", "BadOperationException",
            "ConnectionTerminatedException", "InvalidFrameException", "InvalidUTF8Exception",
            "UnsupportedFrameException",
        ),
    ),
    "handshake": (
        handshake, ("AbortedByUserException", "HandshakeException", "VersionException", "do_handshake", "hybi", "base"),
    ),
    "base": (
        base,
        (
            "AbortedByUserException", "HandshakeException", "VersionException", "get_default_port",
            "validate_subprotocol", "parse_host_header", "get_mandatory_header", "validate_mandatory_header",
            "parse_token_list", "HandshakerBase",
        ),
    ),
    "hybi": (
        hybi, ("check_request_line", "compute_accept", "compute_accept_from_unicode", "format_header", "Handshaker"),
    ),
    "extensions": (
        extensions,
        ("ExtensionProcessorInterface", "PerMessageDeflateExtensionProcessor", "get_extension_processor"),
    ),
    "util": (
        util,
        (
            "prepend_message_to_exception", "get_script_interp", "hexify", "get_class_logger", "pack_byte", "NoopMasker",
            "RepeatedXorMasker", "_Deflater", "_Inflater", "_RFC1979Deflater", "_RFC1979Inflater", "DeflateSocket",
        ),
    ),
    "http_header_util": (
        http_header_util,
        (
            "ParsingState", "peek", "consume", "consume_string", "consume_lws", "consume_lwses", "consume_token",
            "consume_token_or_quoted_string", "quote_if_necessary", "parse_uri",
        ),
    ),
}  # fmt: skip


def _show(value):
    if isinstance(value, (str, int, bytes, float, type(None), tuple, list)):
        return repr(value)
    if isinstance(value, common.ExtensionParameter):
        return [value.name(), repr(value.get_parameters()), repr(value.get_parameter_names())]
    if isinstance(value, stream.Frame):
        return repr((value.fin, value.rsv1, value.rsv2, value.rsv3, value.opcode, value.payload))
    if isinstance(value, type):
        return [base.__name__ for base in value.__mro__] if issubclass(value, Exception) else "class"
    return "callable" if callable(value) else "object"


def _outcome(call):
    try:
        return _show(call())
    except Exception as error:
        return type(error).__name__


def _told(call):
    try:
        return _show(call())
    except (common.ExtensionParsingException, handshake.HandshakeException) as error:
        return [type(error).__name__, str(error)]
    except Exception as error:
        return type(error).__name__


def _reader(data):
    rest = [data]

    def read(count):
        if len(rest[0]) < count:
            raise msgutil.ConnectionTerminatedException("no more")
        piece, rest[0] = rest[0][:count], rest[0][count:]
        return piece

    return read


def _names():
    report = {}
    for title, (module, names) in _MODULES.items():
        if names is None:
            names = [name for name in (*_CONSTANTS, *_COMMON) if name]
        report[title] = {name: _outcome(lambda m=module, n=name: getattr(m, n)) for name in names}
    return report


_COMMON = (
    "is_control_opcode", "ExtensionParameter", "ExtensionParsingException", "parse_extensions", "format_extension",
    "format_extensions",
)  # fmt: skip
_CONSTANTS = """
LOGLEVEL_FINE VERSION_HYBI13 VERSION_HYBI14 VERSION_HYBI15 VERSION_HYBI16 VERSION_HYBI17 VERSION_HYBI_LATEST
DEFAULT_WEB_SOCKET_PORT DEFAULT_WEB_SOCKET_SECURE_PORT WEB_SOCKET_SCHEME WEB_SOCKET_SECURE_SCHEME OPCODE_CONTINUATION
OPCODE_TEXT OPCODE_BINARY OPCODE_CLOSE OPCODE_PING OPCODE_PONG WEBSOCKET_ACCEPT_UUID UPGRADE_HEADER
WEBSOCKET_UPGRADE_TYPE CONNECTION_HEADER UPGRADE_CONNECTION_TYPE HOST_HEADER ORIGIN_HEADER SEC_WEBSOCKET_KEY_HEADER
SEC_WEBSOCKET_ACCEPT_HEADER SEC_WEBSOCKET_VERSION_HEADER SEC_WEBSOCKET_PROTOCOL_HEADER SEC_WEBSOCKET_EXTENSIONS_HEADER
PERMESSAGE_DEFLATE_EXTENSION STATUS_NORMAL_CLOSURE STATUS_GOING_AWAY STATUS_PROTOCOL_ERROR STATUS_UNSUPPORTED_DATA
STATUS_NO_STATUS_RECEIVED STATUS_ABNORMAL_CLOSURE STATUS_INVALID_FRAME_PAYLOAD_DATA STATUS_POLICY_VIOLATION
STATUS_MESSAGE_TOO_BIG STATUS_MANDATORY_EXTENSION STATUS_INTERNAL_ENDPOINT_ERROR STATUS_TLS_HANDSHAKE
STATUS_USER_REGISTERED_BASE STATUS_USER_REGISTERED_MAX STATUS_USER_PRIVATE_BASE STATUS_USER_PRIVATE_MAX STATUS_NORMAL
STATUS_UNSUPPORTED STATUS_CODE_NOT_AVAILABLE STATUS_ABNORMAL_CLOSE STATUS_INVALID_FRAME_PAYLOAD STATUS_MANDATORY_EXT
HTTP_STATUS_BAD_REQUEST HTTP_STATUS_FORBIDDEN HTTP_STATUS_NOT_FOUND
""".split()


def _stream_calls():
    header, frame = stream.create_header, stream.create_text_frame
    body, builder = stream.create_closing_handshake_body, stream.FragmentedFrameBuilder(False)
    lengths = (0, 1, 125, 126, 127, 65535, 65536, (1 << 63) - 1, 1 << 63, -1)
    read_pairs = {
        "text": b"\x81\x85\x01\x02\x03\x04igoht",
        "unmasked": b"\x81\x01a",
        "rsv": b"\xf3\x80\0\0\0\0",
        "short": b"\x81\x85\x01",
        "long": b"\x82\xff\x80\0\0\0\0\0\0\0",
        "not minimal": b"\x82\xfe\0\x01\0\0\0\0x",
        "not minimal 8": b"\x82\xff\0\0\0\0\0\0\0\x01\0\0\0\0x",
    }
    return {
        **{"length %d" % n: _outcome(lambda n=n: stream.create_length_header(n, False)) for n in lengths},
        **{
            "masked length %d" % n: _outcome(lambda n=n: stream.create_length_header(n, True))
            for n in lengths
        },
        "header": _outcome(lambda: header(1, 5, 1, 0, 0, 0, False)),
        "header reserved": _outcome(lambda: header(0xF, 5, 0, 1, 1, 1, True)),
        "header int mask": _outcome(lambda: header(9, 126, 0, 0, 0, 0, 0)),
        "header opcode": _outcome(lambda: header(16, 5, 1, 0, 0, 0, False)),
        "header minus": _outcome(lambda: header(-1, 5, 1, 0, 0, 0, False)),
        "header length": _outcome(lambda: header(1, 1 << 63, 1, 0, 0, 0, False)),
        "header fin": _outcome(lambda: header(1, 1, 2, 0, 0, 0, False)),
        "header names": _outcome(
            lambda: header(opcode=8, payload_length=2, fin=1, rsv1=1, rsv2=0, rsv3=0, mask=False)
        ),
        "header few": _outcome(lambda: header(1, 1)),
        "text": _outcome(lambda: frame("t\xe4")),
        "text ping": _outcome(lambda: frame("p" * 126, opcode=common.OPCODE_PING, fin=0)),
        "text bytes": _outcome(lambda: frame(b"bytes")),
        "text mask": _outcome(lambda: len(frame("masked", mask=True))),
        "text surrogate": _outcome(lambda: frame("\udc80")),
        "binary": _outcome(lambda: stream.create_binary_frame(b"\xff", fin=0)),
        "binary names": _outcome(
            lambda: stream.create_binary_frame(message=b"n", opcode=0, fin=1, mask=False)
        ),
        "ping": _outcome(lambda: stream.create_ping_frame(b"p")),
        "ping big": _outcome(lambda: stream.create_ping_frame(b"p" * 126)),
        "ping 125": _outcome(lambda: stream.create_ping_frame(b"p" * 125)),
        "pong": _outcome(lambda: stream.create_pong_frame(b"")),
        "close": _outcome(lambda: stream.create_close_frame(b"")),
        "close 1": _outcome(lambda: stream.create_close_frame(b"X")),
        "close mask": _outcome(lambda: len(stream.create_close_frame(b"\x03\xe8", mask=True))),
        "close big": _outcome(lambda: stream.create_close_frame(b"c" * 126)),
        **{
            "body %s" % c: _outcome(lambda c=c: body(c, "r\xe4")) for c in (None, 999, 1000, 1004, 4999, 5000)
        },
        **{"body %s" % c: _outcome(lambda c=c: body(c, "")) for c in (1005, 1006, 1015, 1016, 2999)},
        "body none": _outcome(lambda: body(1000, None)),
        "body bytes": _outcome(lambda: body(1000, b"b")),
        "body str": _outcome(lambda: body("1000", "")),
        "body long": _outcome(lambda: len(body(1000, "r" * 200))),
        "builder 1": _outcome(lambda: builder.build("a", False, False)),
        "builder 2": _outcome(lambda: builder.build(b"b", True, True)),
        "builder 3": _outcome(lambda: builder.build("c", True, False)),
        "builder 4": _outcome(lambda: builder.build(b"d", True, True)),
        "builder raw": _outcome(
            lambda: stream.FragmentedFrameBuilder(False, encode_utf8=False).build(b"r", 1, 0)
        ),
        "frame": _outcome(lambda: stream.Frame()),
        "frame names": _outcome(lambda: stream.Frame(fin=0, rsv1=1, rsv2=1, rsv3=1, opcode=2, payload=b"p")),
        **{"parse " + k: _outcome(lambda d=d: stream.parse_frame(_reader(d))) for k, d in read_pairs.items()},
        "parse any mask": _outcome(lambda: stream.parse_frame(_reader(b"\x81\x01a"), unmask_receive=False)),
        "filters": _outcome(lambda: frame("f", frame_filters=[_Shout()])),
        "ping filters": _outcome(lambda: stream.create_ping_frame(b"f", frame_filters=[_Shout()])),
        "options": {
            name: repr(getattr(stream.StreamOptions(), name))
            for name in dir(stream.StreamOptions())
            if not name.startswith("_")
        },
    }


class _Shout(object):
    def filter(self, frame):
        frame.payload = frame.payload.upper() + b"!"
        frame.rsv2 = 1


def _util_calls():
    deflater, inflater = util._Deflater(15), util._Inflater(15)
    rfc, unrfc = util._RFC1979Deflater(None, False), util._RFC1979Inflater()
    masker = util.RepeatedXorMasker(b"\1\2\3\4")
    script = __import__("os").environ["WSHOST_REFERENCE_JOURNAL"] + "-none"
    error = ValueError("old", 1)
    util.prepend_message_to_exception("new ", error)
    return {
        "hexify": _outcome(lambda: util.hexify(b"\x00\xffA")),
        "hexify empty": _outcome(lambda: util.hexify(b"")),
        "hexify str": _outcome(lambda: util.hexify("a")),
        **{"pack %s" % n: _outcome(lambda n=n: util.pack_byte(n)) for n in (0, 255, 256, -1, "a", 1.0)},
        "mask 1": _outcome(lambda: masker.mask(b"abc")),
        "mask 2": _outcome(lambda: masker.mask(b"defgh")),
        "mask str": _outcome(lambda: masker.mask("str")),
        "noop": _outcome(lambda: util.NoopMasker().mask(b"abc")),
        "noop any": _outcome(lambda: util.NoopMasker().mask("abc")),
        "deflate": _outcome(lambda: deflater.compress(b"Hello") + deflater.compress_and_flush(b"Hello")),
        "deflate finish": _outcome(lambda: deflater.compress_and_finish(b"Hello")),
        "deflate 8": _outcome(lambda: util._Deflater(8).compress_and_flush(b"Hello")),
        "deflate 16": _outcome(lambda: util._Deflater(16)),
        "deflate str": _outcome(lambda: util._Deflater(15).compress("str")),
        "inflate": _outcome(lambda: (inflater.append(b"\xf2H\xcd\xc9\xc9\x07\x00"), inflater.decompress(-1))),
        "inflate some": _outcome(lambda: (inflater.append(b"\x00\x00\xff\xff"), inflater.decompress(2))),
        "inflate 0": _outcome(lambda: inflater.decompress(0)),
        "inflate bad": _outcome(lambda: (inflater.append(b"\xff\xff"), inflater.decompress(-1))),
        "rfc": _outcome(
            lambda: [rfc.filter(b"Hello"), rfc.filter(b"Hello", end=False), rfc.filter(b"", end=True)]
        ),
        "rfc bfinal": _outcome(lambda: [rfc.filter(b"Hello", bfinal=True), rfc.filter(b"Hello")]),
        "unrfc": _outcome(
            lambda: [unrfc.filter(b"\xf2H\xcd\xc9\xc9\x07\x00"), unrfc.filter(b"\xf2\0\x11\0\0")]
        ),
        "prepended": repr(error.args),
        "logger": util.get_class_logger(_Shout()).name.split(".")[-1],
        "interp": _outcome(lambda: util.get_script_interp(script)),
    }


def _header_calls():
    parse, state = common.parse_extensions, http_header_util.ParsingState
    quoted = http_header_util.consume_token_or_quoted_string
    texts = (
        "a", "a; b", "a; b=c; d", "a, b;c", "a;b=\"q \\\" q\"", "", ";", "a;", "a b", "a=b", "a,,b", "a;b=", ",a",
        "a;b=\"open", "a ; b = c , d", "permessage-deflate; ;", "a; b'c=",
    )  # fmt: skip
    uris = (
        "/a?b", "ws://h/a", "wss://h/a?b#c", "ws://h:81/", "ws://h", "ws:///a", "ws://h:x/", "http://h/a", "",
        "ws://[::1]:5/x", "WS://H/a",
    )  # fmt: skip
    return {
        **{"extensions %r" % t: _told(lambda t=t: [_show(e) for e in parse(t)]) for t in texts},
        **{"tokens %r" % t: _told(lambda t=t: base.parse_token_list(t)) for t in texts},
        **{"quoted %r" % t: _outcome(lambda t=t: quoted(state(t))) for t in texts},
        **{"format %r" % t: _outcome(lambda t=t: common.format_extensions(parse(t))) for t in texts},
        **{"subprotocol %r" % t: _told(lambda t=t: base.validate_subprotocol(t)) for t in texts},
        **{"quote %r" % t: _outcome(lambda t=t: http_header_util.quote_if_necessary(t)) for t in texts},
        **{"uri %r" % t: _outcome(lambda t=t: http_header_util.parse_uri(t)) for t in uris},
        "control": [common.is_control_opcode(opcode) for opcode in range(16)],
        "accept": _outcome(lambda: hybi.compute_accept(b"dGhlIHNhbXBsZSBub25jZQ==")),
        "accept str": _outcome(lambda: hybi.compute_accept("dGhlIHNhbXBsZSBub25jZQ==")),
        "accept unicode": _outcome(lambda: hybi.compute_accept_from_unicode("dGhlIHNhbXBsZSBub25jZQ==")),
        "accept bytes": _outcome(lambda: hybi.compute_accept_from_unicode(b"x")),
        "ports": [base.get_default_port(False), base.get_default_port(True)],
        "format header": _outcome(lambda: hybi.format_header("N", "v")),
        "status": _outcome(lambda: handshake.HandshakeException("x", 401).status),
        "no status": _outcome(lambda: handshake.HandshakeException("x").status),
        "text": _outcome(lambda: str(handshake.HandshakeException("x", 401))),
        "versions": _outcome(lambda: handshake.VersionException("x", "13").supported_versions),
    }


def _processor_calls():
    make = extensions.get_extension_processor
    offers = (
        "permessage-deflate", "permessage-deflate; server_max_window_bits=8", "permessage-deflate; client_max_window_bits",
        "permessage-deflate; x=1", "other",
    )  # fmt: skip
    report = {}
    for offer in offers:
        processor = make(common.parse_extensions(offer)[0])
        if processor is None:
            report[offer] = "none"
            continue
        processor.set_client_max_window_bits(10)
        processor.set_client_no_context_takeover(True)
        options = stream.StreamOptions()
        response = processor.get_extension_response()
        processor.setup_stream_options(options)
        report[offer] = [
            processor.name(),
            _show(processor.request()),
            _show(response),
            processor.is_active(),
            len(options.outgoing_message_filters),
            options.encode_text_message_to_utf8,
            _outcome(lambda p=processor: p.set_bfinal(True)),
            _outcome(lambda p=processor: p.set_active(False)),
            processor.is_active(),
            _outcome(processor.get_extension_response),
        ]
    interface = extensions.ExtensionProcessorInterface(common.ExtensionParameter("own"))
    report["interface"] = [
        _show(interface.name()),
        _show(interface.request()),
        interface.is_active(),
        _outcome(interface.get_extension_response),
        interface.is_active(),
        _outcome(lambda: interface.check_consistency_with_other_processors([])),
        _outcome(lambda: interface.setup_stream_options(stream.StreamOptions())),
    ]
    return report


_REPORTS = {
    "names": _names,
    "stream": _stream_calls,
    "util": _util_calls,
    "headers": _header_calls,
    "processors": _processor_calls,
}


def web_socket_do_extra_handshake(request):
    report = _REPORTS[request.ws_resource.split("?")[1]]()
    request.connection.write(json.dumps(report, sort_keys=True).encode())
    raise handshake.AbortedByUserException("reported")


def web_socket_transfer_data(request):
    pass
