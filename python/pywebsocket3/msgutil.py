"""Sending and receiving for handlers: functions on a request, and two threads that do it for them."""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable, Union

from pywebsocket3._stream_exceptions import (
    BadOperationException,
    ConnectionTerminatedException,
    InvalidFrameException,
    UnsupportedFrameException,
)

__all__ = [
    "BadOperationException",
    "ConnectionTerminatedException",
    "InvalidFrameException",
    "MessageReceiver",
    "MessageSender",
    "UnsupportedFrameException",
    "close_connection",
    "receive_message",
    "send_message",
    "send_ping",
]

Message = Union[str, bytes]


def close_connection(request: Any) -> None:
    """Closes the connection with 1000 and waits for the peer's close frame."""
    request.ws_stream.close_connection()


def send_message(request: Any, payload_data: Message, end: bool = True, binary: bool = False) -> None:
    """Sends a message, or a piece of one when `end` is false; see `Stream.send_message`."""
    request.ws_stream.send_message(payload_data, end, binary)


def receive_message(request: Any) -> Message | None:
    """The next message, `None` when the peer has closed; see `Stream.receive_message`."""
    message: Message | None = request.ws_stream.receive_message()
    return message


def send_ping(request: Any, body: Message) -> None:
    """Sends a ping; see `Stream.send_ping`."""
    request.ws_stream.send_ping(body)


class MessageReceiver(threading.Thread):
    """Receives messages on a thread of its own and hands them to a function or keeps them."""

    def __init__(self, request: Any, onmessage: Callable[[Message | None], object] | None = None) -> None:
        """Starts the thread. With `onmessage`, that is called with each message, on the thread."""
        super().__init__(daemon=True)
        self._request = request
        self._queue: queue.Queue[Message | None] = queue.Queue()
        self._onmessage = onmessage
        self._stop_requested = False
        self.start()

    def run(self) -> None:
        """Receives until `stop` or an exception, then closes the connection."""
        try:
            while not self._stop_requested:
                message = receive_message(self._request)
                if self._onmessage:
                    self._onmessage(message)
                else:
                    self._queue.put(message)
        finally:
            close_connection(self._request)

    def receive(self) -> Message | None:
        """The next message; waits for it."""
        return self._queue.get()

    def receive_nowait(self) -> Message | None:
        """The next message, `None` when there is none yet."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None

    def stop(self) -> None:
        """Ends the thread once it has received one more message."""
        self._stop_requested = True


class MessageSender(threading.Thread):
    """Sends messages on a thread of its own."""

    def __init__(self, request: Any) -> None:
        """Starts the thread."""
        super().__init__(daemon=True)
        self._request = request
        self._queue: queue.Queue[tuple[Message, threading.Event]] = queue.Queue()
        self.start()

    def run(self) -> None:
        """Sends what is queued, for good."""
        while True:
            message, sent = self._queue.get()
            try:
                send_message(self._request, message)
            finally:
                sent.set()

    def send(self, message: Message) -> None:
        """Sends a message and waits until it is sent."""
        sent = threading.Event()
        self._queue.put((message, sent))
        sent.wait()

    def send_nowait(self, message: Message) -> None:
        """Queues a message and returns."""
        self._queue.put((message, threading.Event()))
