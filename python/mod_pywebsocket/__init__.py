"""mod_pywebsocket: the old name of `pywebsocket3`.

Every name below it is the very object of the new one: `mod_pywebsocket.stream is pywebsocket3.stream`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

import pywebsocket3

if TYPE_CHECKING:
    from pywebsocket3 import common as common
    from pywebsocket3 import dispatch as dispatch
    from pywebsocket3 import extensions as extensions
    from pywebsocket3 import handshake as handshake
    from pywebsocket3 import http_header_util as http_header_util
    from pywebsocket3 import memorizingfile as memorizingfile
    from pywebsocket3 import msgutil as msgutil
    from pywebsocket3 import request_handler as request_handler
    from pywebsocket3 import server_util as server_util
    from pywebsocket3 import standalone as standalone
    from pywebsocket3 import stream as stream
    from pywebsocket3 import util as util
    from pywebsocket3 import websocket_server as websocket_server

_OLD, _NEW = __name__ + ".", pywebsocket3.__name__ + "."


class _Alias(MetaPathFinder, Loader):
    """Finds `mod_pywebsocket.X` and gives `pywebsocket3.X`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_OLD):
            return None
        original = find_spec(_NEW + fullname[len(_OLD) :])
        if original is None:
            return None
        is_package = original.submodule_search_locations is not None
        return spec_from_loader(fullname, self, origin=original.origin, is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_NEW + spec.name[len(_OLD) :])
        # The import system is about to write the alias's spec over the module's own.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and spec.loader is self:
            module.__spec__ = spec.loader_state

    def get_code(self, fullname: str) -> CodeType | None:
        """For `python -m mod_pywebsocket.X`."""
        spec = find_spec(_NEW + fullname[len(_OLD) :])
        loader: Any = spec.loader if spec is not None else None
        code: CodeType | None = loader.get_code(spec.name) if spec is not None else None
        return code


sys.meta_path.insert(0, _Alias())
sys.modules[__name__] = pywebsocket3
