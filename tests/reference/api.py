"""Writes down the API of the installed `pywebsocket3` as JSON: `python api.py`.

Runs with the oracle's interpreter and with ours; so it uses the standard library only. For each module it
lists constants with their values, functions with their parameters, classes with their bases and methods.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from types import ModuleType
from typing import Any

PACKAGE = "pywebsocket3"
# Constants of these types are compared by value, others by type.
VALUES = (int, float, str, bytes, type(None), tuple, list, dict)


def parameters(function: Any) -> list[str]:
    """The parameters of a callable as `NAME=DEFAULT`, `*NAME`, `**NAME`; `["?"]` when it does not tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ["?"]
    prefixes = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    listed = []
    for parameter in signature.parameters.values():
        text = prefixes.get(parameter.kind, "") + parameter.name
        if parameter.default is not parameter.empty:
            text += f"={parameter.default!r}"
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            text = "(keyword) " + text
        # `self` of native methods is positional-only; of all others that would be a difference.
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and parameter.name != "self":
            text = "(position) " + text
        listed.append(text)
    return listed


def methods(cls: type) -> dict[str, list[str]]:
    """The methods that classes of the package define, inherited ones included, without `self`."""
    found = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith(PACKAGE):
            continue
        for name, value in vars(base).items():
            if name.startswith("__") or not callable(getattr(cls, name)):
                continue
            listed = parameters(value.__func__ if isinstance(value, staticmethod) else getattr(cls, name))
            bound = isinstance(value, (staticmethod, classmethod))
            found[name] = listed if bound or listed == ["?"] else listed[1:]
    return found


def describe(value: Any) -> Any:
    """What is compared of one name of a module; `None` for what is not the package's own."""
    if isinstance(value, ModuleType):
        return {"module": value.__name__} if value.__name__.startswith(PACKAGE) else None
    if isinstance(value, type):
        if not value.__module__.startswith(PACKAGE):
            return None
        return {
            "class": f"{value.__module__}.{value.__qualname__}",
            "bases": [f"{base.__module__}.{base.__qualname__}" for base in value.__bases__],
            "call": parameters(value),
            "methods": methods(value),
        }
    if callable(value):
        own = getattr(value, "__module__", "").startswith((PACKAGE, "wshost"))
        return {"call": parameters(value)} if own else None
    if type(value) in VALUES:
        return {"value": repr(value)}
    if type(value).__module__ == "__future__":
        return None
    return {"type": f"{type(value).__module__}.{type(value).__qualname__}"}


def describe_module(name: str) -> dict[str, Any]:
    """What is compared of a module, by name."""
    described = {}
    for key, value in vars(importlib.import_module(name)).items():
        description = None if key.startswith("__") else describe(value)
        if description is not None:
            described[key] = description
    return described


def main() -> None:
    """Prints the API."""
    package = importlib.import_module(PACKAGE)
    names = [module.name for module in pkgutil.walk_packages(package.__path__, PACKAGE + ".")]
    for name in names:
        importlib.import_module(name)
    print(json.dumps({name: describe_module(name) for name in [PACKAGE, *names]}))


if __name__ == "__main__":
    main()
