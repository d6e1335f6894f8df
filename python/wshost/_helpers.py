"""Helper modules: which local files a handler is made of, and how they are imported anew.

The imports are read from the source of the files, so that those inside functions count before they have run.
The standard library, site-packages and wshost's own packages are no helpers.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from types import ModuleType
from typing import ClassVar

_OURS = {"wshost", "pywebsocket3", "mod_pywebsocket"}
_STANDARD = {*sys.builtin_module_names, *getattr(sys, "stdlib_module_names", ())}
# The standard library, the part of it that is for this platform included. `sysconfig` knows it, too, and
# takes longer to import than this module.
_INSTALLED = tuple(
    os.path.realpath(path) + os.sep
    for path in (
        os.path.dirname(os.__file__),
        os.path.join(
            sys.base_exec_prefix,
            getattr(sys, "platlibdir", "lib"),
            f"python{sys.version_info.major}.{sys.version_info.minor}",
        ),
    )
)
_CALLS = {"import_module", "__import__"}
# An import of one module, alone on its line.
_PLAIN_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b|import[ \t]+([\w.]+)(?:[ \t]+as[ \t]+\w+)?[ \t]*(?:#.*)?$)",
    re.MULTILINE,
)

# Path → modification time, size, and the names that the file imports.
_read: dict[str, tuple[int, int, list[_Import]]] = {}


class _Import:
    """An import statement: the module, and the names of it that may be modules, too."""

    def __init__(self, level: int, module: str, names: Iterable[str] = ()) -> None:
        self.level = level
        self.module = module
        self.names = list(names)

    def modules(self, package: str) -> Iterator[tuple[str, bool]]:
        """Each module by its full name, and whether the import fails without it."""
        module = self.module
        if self.level:
            parents = package.split(".")
            parents = parents[: len(parents) - self.level + 1]
            module = ".".join([*parents, *filter(None, [module])])
        parts = module.split(".")
        for length in range(1, len(parts) + 1):
            yield ".".join(parts[:length]), True
        for name in self.names:
            yield f"{module}.{name}", False


def _may_import_helpers(source: str) -> bool:
    """Whether it is worth parsing: not if every `import` in it is on a plain line that names no helper."""
    plain = [one or other for one, other in _PLAIN_IMPORT.findall(source)]
    return source.count("import") != len(plain) or not all(map(_is_foreign, plain))


def _imports(source: str) -> list[_Import]:
    """What a file with this text imports; nothing for one that cannot be parsed."""
    if not _may_import_helpers(source):
        return []
    import ast  # It takes longer than this module, and not everybody needs it.

    found: list[_Import] = []
    try:
        tree = ast.parse(source)
    except (ValueError, SyntaxError):
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [_Import(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(_Import(node.level, node.module or "", [alias.name for alias in node.names]))
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            argument = node.args[0]
            if name in _CALLS and isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.append(_Import(0, argument.value))
    return found


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _imports_of_file(path: str) -> list[_Import]:
    """The same; nothing for a file that cannot be read either."""
    try:
        status = os.stat(path)
        known = _read.get(path)
        if known is None or known[:2] != (status.st_mtime_ns, status.st_size):
            # A pipe would wait, a device may have no end; and it may have become one just now.
            with open(path, "rb", opener=_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return []
                source = importlib.util.decode_source(file.read())
            known = _read[path] = (status.st_mtime_ns, status.st_size, _imports(source))
        return known[2]
    except (OSError, ValueError, SyntaxError):
        return []


def _is_local(path: str) -> bool:
    real = os.path.realpath(path)
    if not path.endswith(".py") or real.startswith(_INSTALLED):
        return False
    return not {"site-packages", "dist-packages"}.intersection(real.split(os.sep))


def _is_foreign(name: str) -> bool:
    """Whether a module is known by its name to be no helper."""
    top = name.partition(".")[0]
    return top in _STANDARD or top in _OURS


def _places(name: str) -> list[str] | None:
    """The folders that the submodules of a package lie in."""
    module = sys.modules.get(name)
    if module is not None:
        path = getattr(module, "__path__", None)
    else:
        parent = name.rpartition(".")[0]
        spec = PathFinder.find_spec(name, _places(parent) or [] if parent else None)
        path = spec and spec.submodule_search_locations
    return list(path) if path else None


def _locate(name: str) -> str | None:
    """The file of a module, whether it is loaded or not. Runs no code of it."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return os.path.abspath(file) if isinstance(file, str) else None
    parent = name.rpartition(".")[0]
    places = _places(parent) if parent else None
    if parent and places is None:
        return None
    spec = PathFinder.find_spec(name, places)
    return os.path.abspath(spec.origin) if spec and spec.has_location and spec.origin else None


def _missing(name: str) -> Iterator[str]:
    """Where a module that is nowhere could come to be."""
    parent, _, last = name.rpartition(".")
    for place in (_places(parent) or []) if parent else sys.path:
        base = os.path.join(os.path.abspath(place), last)
        if _is_local(base + ".py") and os.path.isdir(place):
            yield base + ".py"
            yield os.path.join(base, "__init__.py")


def depends_on(path: str, package: str = "", source: str | None = None, failed: bool = False) -> list[str]:
    """The local files that the file at `path` imports, directly or through others, sorted.

    `source` is its text, if that is known. For one that `failed` also those that are not there and that an
    import looks for.
    """
    importlib.invalidate_caches()
    found: set[str] = set()
    seen: set[str] = set()
    imports = _imports_of_file(path) if source is None else _imports(source)
    todo = [(imports, package)]
    while todo:
        imports, package = todo.pop()
        for statement in imports:
            for name, needed in statement.modules(package):
                if name in seen or _is_foreign(name):
                    continue
                seen.add(name)
                with contextlib.suppress(ImportError, ValueError, AttributeError):
                    helper = _locate(name)
                    if helper is None:
                        if failed and needed and name not in sys.modules:
                            found.update(_missing(name))
                    elif _is_local(helper):
                        found.add(helper)
                        is_package = os.path.basename(helper) == "__init__.py"
                        parent = name if is_package else name.rpartition(".")[0]
                        todo.append((_imports_of_file(helper), parent))
    found.discard(path)
    return sorted(found)


class Renewal:
    """Modules whose files have changed, and those that import them: out of `sys.modules` and imported anew.

    Whoever holds the old module objects keeps them.
    """

    _lock = threading.Lock()
    """Held while modules are taken out of `sys.modules` or put back; no code of theirs runs meanwhile."""
    _open: ClassVar[list[Renewal]] = []
    """Those that have not finished."""

    def __init__(self, changed: Iterable[str]) -> None:
        files = set(changed)
        for file in files:
            # Its time counts in seconds only: it may pass for that of the new source.
            with contextlib.suppress(OSError, NotImplementedError):
                os.unlink(importlib.util.cache_from_source(file))
        self._failed: dict[str, ModuleType] = {}
        # Before the lock is taken: what has no file may have code that is asked for one.
        made = [
            (name, module) for name, module in list(sys.modules.items()) if _is_made_of(name, module, files)
        ]
        with self._lock:
            old = {name: module for name, module in made if sys.modules.get(name) is module}
            for name in old:
                del sys.modules[name]
            for other in self._open:
                # It must not put back what is imported anew here: that would be taken for the new one.
                for name, module in list(other._failed.items()):
                    if name in old or _is_made_of(name, module, files):
                        old[name] = other._failed.pop(name)
            self._open.append(self)
        importlib.invalidate_caches()
        for name, module in old.items():
            try:
                importlib.import_module(name)
            except Exception:
                # The handlers that import it fail in the same way, and tell.
                with self._lock:
                    self._failed[name] = module
                _bind(name, None)

    def finish(self) -> None:
        """Puts the modules back that do not load and whose files are there: the last good version stays."""
        with self._lock:
            self._open.remove(self)
            for name, module in self._failed.items():
                if os.path.exists(module.__file__ or "") and sys.modules.setdefault(name, module) is module:
                    _bind(name, module)


def _begin_child() -> None:
    """A forked child has no thread that would let go of the lock, or finish what its parent has begun."""
    Renewal._lock = threading.Lock()
    Renewal._open = []


os.register_at_fork(after_in_child=_begin_child)


def _is_made_of(name: str, module: ModuleType, files: set[str]) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or name == "__main__" or name.startswith("wsh_handlers:"):
        return False
    file = os.path.abspath(file)
    if _is_foreign(name) or not _is_local(file):
        return False
    if file in files:
        return True
    parent = name if hasattr(module, "__path__") else name.rpartition(".")[0]
    while name:
        # A submodule goes with its package.
        name = name.rpartition(".")[0]
        if name and _locate(name) in files:
            return True
    return not files.isdisjoint(depends_on(file, parent))


def _bind(name: str, module: ModuleType | None) -> None:
    """Makes a submodule an attribute of its package, as an import does, or takes it away."""
    parent, _, last = name.rpartition(".")
    package = sys.modules.get(parent)
    if package is None:
        return
    if module is not None:
        setattr(package, last, module)
    elif isinstance(getattr(package, last, None), ModuleType):
        delattr(package, last)
