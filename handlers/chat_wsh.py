"""A chat room: what one client sends, all of them get.

Every connection has a thread of its own, and all of them run this one module. So its globals are shared, and
a lock guards them. Open the console twice to try it. Then edit this file: those who are in stay in, because a
new version takes over the globals that `wshost_keep` names.
"""

import itertools
import threading

from pywebsocket3 import msgutil

wshost_keep = ("_lock", "_clients", "_numbers")

if "_clients" not in globals():  # The first version; a later one has them already.
    _lock = threading.Lock()
    _clients = {}  # request -> name
    _numbers = itertools.count(1)


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    name = f"guest {next(_numbers)}"
    with _lock:
        _clients[request] = name
    try:
        _tell_all(f"{name} came in")
        while True:
            message = request.ws_stream.receive_message()
            if message is None:
                return
            if isinstance(message, bytes):
                message = f"({len(message)} bytes)"
            _tell_all(f"{name}: {message}")
    finally:
        with _lock:
            del _clients[request]
        _tell_all(f"{name} left")


def _tell_all(line):
    # Sending can take long when a client reads slowly, so it happens outside the lock.
    with _lock:
        clients = list(_clients)
    for client in clients:
        try:
            client.ws_stream.send_message(line)
        except (msgutil.ConnectionTerminatedException, msgutil.BadOperationException):
            pass  # It is leaving, and its own thread takes it off the list.
