"""Trick 7: `connection.read(n)` in the opening handshake: one read, short when there is less; b'' at the end."""

from pywebsocket3 import handshake


def web_socket_do_extra_handshake(request):
    kind = request.ws_resource.split("?")[1]
    if kind == "noarg":
        request.connection.read()
    if kind == "str":
        request.connection.read("1")
    request.connection.write(b"go")
    sizes = [int(size) for size in kind.split(",")]
    for size in sizes:
        request.connection.write(repr(request.connection.read(size)).encode())
    raise handshake.AbortedByUserException("read enough")


def web_socket_transfer_data(request):
    raise AssertionError("never reached")
