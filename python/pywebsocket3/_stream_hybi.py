"""The old name of `pywebsocket3.stream`."""

from pywebsocket3.stream import *  # noqa: F403
