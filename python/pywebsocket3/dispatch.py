"""Which handler serves which resource."""

from __future__ import annotations

from pywebsocket3 import common
from wshost._native import Dispatcher, _default_passive_closing_handshake_handler, _HandlerSuite

__all__ = [
    'DispatchException',
    'Dispatcher',
    '_HandlerSuite',
    '_default_passive_closing_handshake_handler',
]


class DispatchException(Exception):
    """No handler, or one that cannot be used; `status` is the HTTP status to answer with."""

    def __init__(self, name: object, status: int = common.HTTP_STATUS_NOT_FOUND) -> None:
        super().__init__(name)
        self.status = status
