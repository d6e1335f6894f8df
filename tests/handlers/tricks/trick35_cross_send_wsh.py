"""Trick 35: sending on another connection's request, from another thread; the peer may be gone."""

import threading

import journal
from mod_pywebsocket import msgutil

_names = {}
_members = set()
_release = threading.Event()


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    kind = request.ws_resource.split("?")[1]
    if kind in ("join", "stay"):
        _names[request] = kind
        _members.add(request)
        _release.clear()
        request.ws_stream.send_message("joined")
        if kind == "join":
            request.ws_stream.receive_message()
        else:
            _release.wait(10)
        _members.discard(request)
        del _names[request]
    elif kind == "send":
        for other in list(_members):
            other.ws_stream.send_message("from another connection to " + _names[other])
    elif kind == "poke":
        # The kernel takes what fits for a peer that is gone, until it knows.
        for other in list(_members):
            try:
                while True:
                    other.ws_stream.send_message("x" * 10000)
            except OSError:
                journal.note("send failed here")
        _release.set()
    elif kind == "two-threads":
        sender = threading.Thread(target=_send_three, args=(request,))
        sender.start()
        received = request.ws_stream.receive_message()
        sender.join()
        request.ws_stream.send_message("received %r" % received)
    elif kind == "receiver":
        receiver = msgutil.MessageReceiver(request)
        request.ws_stream.send_message("got %r" % receiver.receive())
        request.ws_stream.send_message("none left %r" % receiver.receive_nowait())
        receiver.join(10)
    elif kind == "sender":
        sender = msgutil.MessageSender(request)
        sender.send("blocking")
        sender.send_nowait("soon")
        sender.send("blocking again")


def _send_three(request):
    for number in range(3):
        request.ws_stream.send_message("sent %d while receiving" % number)
