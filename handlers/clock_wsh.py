"""Tells the time every second; a number as message changes the interval to that many seconds.

One thread waits for messages and another one sends. A connection can do both at the same time.
"""

import threading
import time

from pywebsocket3 import msgutil

_SHORTEST = 0.01


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    clock = _Clock(request.ws_stream)
    clock.start()
    try:
        while True:
            message = request.ws_stream.receive_message()
            if message is None:
                return
            try:
                clock.interval = max(_SHORTEST, float(message))
            except ValueError:
                request.ws_stream.send_message(f"not a number of seconds: {message!r}")
    finally:
        clock.stop()


class _Clock(threading.Thread):
    """Sends the time until it is stopped or the client is gone."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.interval = 1.0
        self._stream = stream
        self._stopped = threading.Event()

    def run(self):
        try:
            while True:
                self._stream.send_message(time.strftime("%H:%M:%S"))
                if self._stopped.wait(self.interval):
                    return
        except (msgutil.ConnectionTerminatedException, msgutil.BadOperationException):
            pass  # The connection is closing.

    def stop(self):
        self._stopped.set()
        self.join()
