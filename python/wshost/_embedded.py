"""Imports wshost's Python files from inside the binary. The binary runs this file before any other."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from types import CodeType, ModuleType
else:
    # `importlib.abc` would import a fifth of all that a start needs.
    Loader = object


class EmbeddedImporter(Loader):
    """Finds and loads modules in a mapping of paths (`pywebsocket3/stream.py`) to source bytes."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def _path(self, name: str) -> tuple[str | None, bool]:
        """The file of a module and whether it is a package."""
        base = name.replace(".", "/")
        for path, is_package in ((base + "/__init__.py", True), (base + ".py", False)):
            if path in self._files:
                return path, is_package
        return None, False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module inside the binary, `None` for all others."""
        file, is_package = self._path(fullname)
        if file is None:
            return None
        return ModuleSpec(fullname, self, origin="wshost:" + file, is_package=is_package)

    def is_package(self, fullname: str) -> bool:
        """Whether the module is a package."""
        return self._path(fullname)[1]

    def get_source(self, fullname: str) -> str:
        """The module's source. Raises `ImportError` for modules that are not inside the binary."""
        file, _ = self._path(fullname)
        if file is None:
            raise ImportError(f"{fullname} is not part of wshost", name=fullname)
        return self._files[file].decode("utf-8")

    def get_code(self, fullname: str) -> CodeType:
        """The module's code, with the place inside the binary as its file name."""
        file, _ = self._path(fullname)
        code: CodeType = compile(self.get_source(fullname), f"wshost:{file}", "exec", dont_inherit=True)
        return code

    def create_module(self, spec: ModuleSpec) -> None:
        """Leaves the making of the module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module's code in it."""
        exec(self.get_code(module.__name__), module.__dict__)


def install(files: dict[str, bytes]) -> None:
    """Makes the files importable before any that are installed: the native module fits only these."""
    normalized = {str(path).replace("\\", "/"): source for path, source in files.items()}
    sys.meta_path.insert(0, EmbeddedImporter(normalized))
