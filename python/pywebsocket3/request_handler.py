"""The request and connection objects of the server, under the reference's names."""

from wshost._native import Connection as _StandaloneConnection
from wshost._native import Request as _StandaloneRequest

__all__ = ["_StandaloneConnection", "_StandaloneRequest"]
