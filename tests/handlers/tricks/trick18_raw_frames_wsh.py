"""Trick 18: broken frames written past the stream arrive as they are, write by write."""

import journal
from mod_pywebsocket import common, stream, util
from mod_pywebsocket.handshake import AbortedByUserException


def _header(opcode, length, fin=1, rsv1=0, rsv2=0, rsv3=0, mask=False):
    return stream.create_header(opcode, length, fin, rsv1, rsv2, rsv3, mask)


_TEXT = common.OPCODE_TEXT
_FRAMES = {
    "rsv": [_header(_TEXT, 3, rsv1=1, rsv2=1, rsv3=1) + b"abc"],
    "opcodes": [_header(opcode, 1) + b"o" for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)],
    "utf8": [_header(_TEXT, 4) + b"\xf4\x90\x80\x80"],
    "long-length": [util.pack_byte(0x81) + util.pack_byte(126) + b"\0\x05hello"],
    "longer-length": [b"\x81\x7f\0\0\0\0\0\0\0\x05hello"],
    "fragmented-ping": [_header(common.OPCODE_PING, 0, fin=0), _header(common.OPCODE_CONTINUATION, 0)],
    "big-ping": [stream.create_text_frame("p" * 126, opcode=common.OPCODE_PING)],
    "open-ping": [stream.create_text_frame("p", opcode=common.OPCODE_PING, fin=0)],
    "interleaved": [_header(_TEXT, 1, fin=0) + b"a", _header(_TEXT, 1) + b"b"],
    "continuation": [_header(common.OPCODE_CONTINUATION, 1) + b"c"],
    "mask-bit": [_header(_TEXT, 2, mask=True) + b"\1\2\3\4" + b"mm"],
    "compressed-close": [_header(common.OPCODE_CLOSE, 2, rsv1=1) + b"\x03\xe8"],
    "two-in-one": [stream.create_text_frame("one") + stream.create_binary_frame(b"two")],
    "one-in-two": [b"\x81\x05he", b"llo"],
    "one-byte-close": [stream.create_close_frame(b"X")],
    "empty-close": [stream.create_close_frame(b"")],
    "empty": [b"", b"\x81\x00", b""],
}


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "too-long":
        request.connection.write(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff")
        try:
            while True:
                request.connection.write(b"x" * 4096)
        except OSError:
            journal.note("write failed with an OSError")
            raise
    for frame in _FRAMES[kind]:
        request.connection.write(frame)
    raise AbortedByUserException("raw only")
