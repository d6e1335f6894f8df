"""Which handler serves which resource."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Callable

from pywebsocket3 import common, handshake, msgutil, stream, util
from wshost._native import (
    Dispatcher,
    _default_passive_closing_handshake_handler,
    _HandlerSuite,
    _is_handler_name,
    _resource_of,
    _source_handler_file,
)

__all__ = [
    "DispatchException",
    "Dispatcher",
    "_HandlerSuite",
    "_create_path_to_resource_converter",
    "_default_passive_closing_handshake_handler",
    "_enumerate_handler_file_paths",
    "_normalize_path",
    "_source_handler_file",
    "common",
    "handshake",
    "msgutil",
    "stream",
    "util",
]


class DispatchException(Exception):
    """No handler, or one that cannot be used; `status` is the HTTP status to answer with."""

    def __init__(self, name: object, status: int = common.HTTP_STATUS_NOT_FOUND) -> None:
        super().__init__(name)
        self.status = status


def _normalize_path(path: str) -> str:
    """The absolute path without symbolic links; backslashes in it are separators."""
    return os.path.realpath(path.replace("\\", "/"))


def _create_path_to_resource_converter(base_dir: str) -> Callable[[str], str | None]:
    """A function from the path of a handler file below `base_dir` to its resource, `None` for others."""
    root = _normalize_path(base_dir)
    return lambda path: _resource_of(root, path.replace("\\", "/"))


def _enumerate_handler_file_paths(directory: str) -> Iterator[str]:
    """The paths of the handler files below `directory`."""
    for folder, _, names in os.walk(directory):
        for name in names:
            if _is_handler_name(name):
                yield os.path.join(folder, name)
