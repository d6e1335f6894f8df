"""`wshost check`: what a handler file defines and imports, and what to do about its problems.

The server's loader has loaded the file, or says why it could not; here that is explained. Nothing of the
file is run again.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from wshost import _python2

# Those that the server calls, and whether they must be there.
_FUNCTIONS = {
    "web_socket_do_extra_handshake": True,
    "web_socket_transfer_data": True,
    "web_socket_passive_closing_handshake": False,
}

# Modules whose package on PyPI has another name.
_PACKAGES = {
    "Crypto": "pycryptodome",
    "OpenSSL": "pyOpenSSL",
    "PIL": "Pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dns": "dnspython",
    "google.protobuf": "protobuf",
    "jwt": "PyJWT",
    "serial": "pyserial",
    "sklearn": "scikit-learn",
    "websocket": "websocket-client",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
    # Left the standard library; these packages have the same code.
    "asynchat": "standard-asynchat",
    "asyncore": "standard-asyncore",
    "cgi": "legacy-cgi",
    "cgitb": "legacy-cgi",
    "distutils": "setuptools",
    "imghdr": "standard-imghdr",
    "pipes": "standard-pipes",
    "smtpd": "standard-smtpd",
    "sndhdr": "standard-sndhdr",
    "telnetlib": "standard-telnetlib",
}

# Names of Python 2, and what has their place in Python 3.
_PYTHON2_NAMES = {
    "BaseHTTPServer": "http.server",
    "ConfigParser": "configparser",
    "Cookie": "http.cookies",
    "HTMLParser": "html.parser",
    "Queue": "queue",
    "SimpleHTTPServer": "http.server",
    "SocketServer": "socketserver",
    "StringIO": "io",
    "basestring": "str",
    "cPickle": "pickle",
    "cStringIO": "io",
    "cookielib": "http.cookiejar",
    "httplib": "http.client",
    "long": "int",
    "md5": "hashlib",
    "raw_input": "input",
    "reduce": "functools.reduce",
    "sets": "set",
    "sha": "hashlib",
    "thread": "_thread (or threading)",
    "unichr": "chr",
    "unicode": "str",
    "urllib2": "urllib.request",
    "urlparse": "urllib.parse",
    "xrange": "range",
    "xmlrpclib": "xmlrpc.client",
}

# What older copies of pywebsocket had and 4.0.2 has not, by their last names.
_OLD_NAMES = {
    "DeflateFrameExtensionProcessor": "use extensions.PerMessageDeflateExtensionProcessor",
    "MuxExtensionProcessor": "multiplexing is gone; each WebSocket has a connection of its own",
    "StreamHixie75": "use stream.Stream; the protocol of hixie-75 is gone",
    "_stream_hixie75": "use pywebsocket3.stream; the protocol of hixie-75 is gone",
    "draft75": "use pywebsocket3.handshake.hybi; the protocol of hixie-75 is gone",
    "get_stack_trace": "use traceback.format_exc()",
    "headerparserhandler": "it was for Apache's mod_python; wshost serves handlers itself",
    "hybi00": "use pywebsocket3.handshake.hybi; the protocol of hybi-00 is gone",
    "is_compression_extension": "compare extension.name() with common.PERMESSAGE_DEFLATE_EXTENSION",
    "mux": "multiplexing is gone; each WebSocket has a connection of its own",
    "wrap_popen3_for_win": "use subprocess.run",
    "ws_challenge": "it was of hixie-75 and hybi-00, which are gone",
    "ws_challenge_md5": "it was of hixie-75 and hybi-00, which are gone",
    "ws_location": "it was of hixie-75 and hybi-00; join request.headers_in['Host'] and request.ws_resource",
}  # fmt: skip


def prepare() -> None:
    """Keeps stdout for the report: what handlers print while they are loaded goes to stderr."""
    sys.stdout = sys.stderr


def examine(path: str, encoding: str | None, error: str | None, traceback: str | None) -> str:
    """What is to be told of a file, as a JSON object.

    `error` and `traceback` are the loader's, `None` for a file that it loaded. The object has `functions`,
    `imports`, `state` (`ok`, `warning` or `failed`), `python2`, and `problems`, each with `file`, `line` (or
    `null`), `reason` and `remedy` (or `null`).
    """
    source = _read(path, encoding)
    tree, is_python2 = _parse(source, path)
    problems: list[dict[str, Any]] = []
    fatal = error is not None
    if error is not None:
        problems.append(_explain(path, encoding, source, error, traceback or "", tree))
    else:
        module = _module(path)
        problems += _wrong_signatures(path, module)
        fatal = bool(problems)
        passive = getattr(module, "web_socket_passive_closing_handshake", None)
        if passive is not None and not callable(passive):
            remedy = "define it with def, or leave it out: the server answers the close by itself"
            reason = "web_socket_passive_closing_handshake is not callable."
            line = _line_of(tree, "web_socket_passive_closing_handshake")
            problems.append(_problem(path, line, reason, remedy))
        problems += _old_names(path, tree)
    return json.dumps(
        {
            "functions": _functions(tree),
            "imports": _imports(tree),
            "state": "failed" if fatal else "warning" if problems else "ok",
            "python2": is_python2,
            "problems": problems,
        }
    )


def conversion(path: str, encoding: str | None) -> tuple[str, str] | None:
    """The diff and the text of a Python 2 file in Python 3; `None` if it needs none or can have none.

    Raises `ModuleNotFoundError` when there is no converter.
    """
    source = _read(path, encoding)
    tree, is_python2 = _parse(source, path)
    if source is None or (tree is not None and not is_python2):
        return None
    if not _python2.is_available():
        if not _python2.looks_like(source):
            return None
        raise ModuleNotFoundError(f"converting Python 2 needs fissix: {_python2.INSTALL}", name="fissix")
    converted = _python2.convert(source, path)
    return None if converted is None else (_python2.difference(source, converted, path), converted)


def write_conversion(path: str, encoding: str | None) -> None:
    """Replaces a file by its conversion, at once; a link stays a link.

    Raises `OSError` when it cannot be written.
    """
    found = conversion(path, encoding)
    if found is not None:
        target = os.path.realpath(path)
        unfinished = target + ".new"
        with open(unfinished, "w", encoding=encoding, newline="") as file:
            file.write(found[1])
        os.chmod(unfinished, os.stat(target).st_mode & 0o7777)
        os.replace(unfinished, target)


def _problem(file: str, line: int | None, reason: str, remedy: str | None) -> dict[str, Any]:
    return {"file": file, "line": line, "reason": reason, "remedy": remedy}


def _read(path: str, encoding: str | None) -> str | None:
    try:
        with open(path, encoding=encoding) as file:
            return file.read()
    except (OSError, UnicodeError, LookupError):
        return None


def _parse(source: str | None, path: str) -> tuple[ast.Module | None, bool]:
    """The file's tree, that of its conversion if it is Python 2, and whether it is."""
    if source is None:
        return None, False
    try:
        return ast.parse(source, path), False
    except (SyntaxError, ValueError):
        pass
    converted = _python2.convert(source, path)
    if converted is not None:
        return ast.parse(converted, path), True
    return None, _python2.looks_like(source)


def _module(path: str) -> ModuleType | None:
    """The module that the loader made of the file."""
    for name, module in list(sys.modules.items()):
        if name.startswith("wsh_handlers:") and getattr(module, "__file__", None) == path:
            return module
    return None


def _functions(tree: ast.Module | None) -> list[str]:
    return [name for name in _FUNCTIONS if _line_of(tree, name) is not None]


def _line_of(tree: ast.Module | None, name: str) -> int | None:
    """The line of the file that gives a global its value, at whatever depth."""
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == name:
            return node.lineno
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
            return node.lineno
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return node.lineno
    return None


def _imports(tree: ast.Module | None) -> list[str]:
    found: set[str] = set()
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return sorted(found)


def _wrong_signatures(path: str, module: ModuleType | None) -> list[dict[str, Any]]:
    """Functions that cannot be called with a request. The server loads them and fails at each connection."""
    problems = []
    for name in _FUNCTIONS:
        function = getattr(module, name, None)
        if not callable(function):
            continue
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            continue  # One in C that does not tell.
        try:
            signature.bind(None)
        except TypeError:
            code = getattr(inspect.unwrap(function), "__code__", None)
            line = code.co_firstlineno if code is not None else None
            reason = f"{name}{signature} cannot be called with a request."
            remedy = f"define it as `def {name}(request):`"
            problems.append(_problem(code.co_filename if code is not None else path, line, reason, remedy))
            continue
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            line = function.__code__.co_firstlineno
            reason = f"{name} does nothing when it is called: it is a coroutine or a generator."
            problems.append(_problem(path, line, reason, "define it with def, without yield; calls block"))
    return problems


def _old_names(path: str, tree: ast.Module | None) -> list[dict[str, Any]]:
    """Uses of names that older copies of pywebsocket had."""
    problems = []
    for node in ast.walk(tree) if tree is not None else ():
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            # Other objects may have these names; those of pywebsocket are reached through its modules.
            base = ast.unparse(node.value).split(".")[-1]
            if base in ("request", "common", "extensions", "handshake", "standalone", "stream", "util"):
                names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and _is_pywebsocket(node.module):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names if _is_pywebsocket(alias.name)]
            names = [part for module in modules for part in module.split(".")]
        for name in names:
            if name in _OLD_NAMES:
                reason = f"{name} is of an older pywebsocket."
                problems.append(_problem(path, getattr(node, "lineno", None), reason, _OLD_NAMES[name]))
    return problems


def _is_pywebsocket(module: str | None) -> bool:
    return (module or "").split(".")[0] in ("mod_pywebsocket", "pywebsocket3")


def _explain(
    path: str, encoding: str | None, source: str | None, error: str, traceback: str, tree: ast.Module | None
) -> dict[str, Any]:
    """Where and why a file failed, and what to do."""
    file, line = _place(path, traceback)
    if source is None and "decoded" in error:
        return _problem(path, _undecodable_line(path, encoding), error.split(";")[0], _encoding_remedy(path))
    if missing := re.search(r"(\w+) is not (defined|callable)\.$", error):
        name = missing.group(1)
        return _problem(path, _line_of(tree, name), error, f"define it: `def {name}(request):`")
    if module := re.search(r"No module named '([\w.]+)'", error):
        return _problem(file, line, error, _missing_module(module.group(1), path))
    if "SyntaxError" in error or "IndentationError" in error or "TabError" in error:
        remedy = "correct the line"
        if source is not None and file == path and _python2.looks_like(source):
            remedy = f"it is Python 2; to have it converted when it is loaded: {_python2.INSTALL}"
            if _python2.is_available():
                remedy = "it is Python 2 that cannot be converted by itself; port the line to Python 3"
        return _problem(file, line, error.split("; it looks like")[0], remedy)
    for name in re.findall(r"'(\w+)'", error):
        if name in _OLD_NAMES and "pywebsocket" in error + traceback:
            return _problem(file, line, error, _OLD_NAMES[name])
        if name in _PYTHON2_NAMES and "NameError" in error:
            return _problem(file, line, error, f"in Python 3 it is {_PYTHON2_NAMES[name]}")
    return _problem(file, line, error, "correct what the traceback shows: start the server to see it whole")


def _place(path: str, traceback: str) -> tuple[str, int | None]:
    """The last line of the file in a traceback; without one, the last place at all."""
    places = [(file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', traceback)]
    own = [place for place in places if place[0] == path]
    everything: list[tuple[str, int | None]] = [(path, None), *(own or places)]
    return everything[-1]


def _undecodable_line(path: str, encoding: str | None) -> int | None:
    try:
        Path(path).read_bytes().decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        return error.object[: error.start].count(b"\n") + 1
    except (OSError, LookupError):
        pass
    return None


def _encoding_remedy(path: str) -> str:
    """Names the encoding that the file says itself, or one that fits."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        return f"make it readable: {error}"
    declared = re.match(rb"(?:[^\n]*\n)?[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", data)
    for name in [*([declared.group(1).decode("ascii")] if declared else []), "utf-8", "latin-1"]:
        try:
            data.decode(name)
        except (LookupError, UnicodeDecodeError):
            continue
        return f"save it as UTF-8, or start with --handler-encoding {name}"
    return "save it as UTF-8"


def _missing_module(module: str, path: str) -> str:
    top = module.split(".")[0]
    if top in _PYTHON2_NAMES:
        return f"in Python 3 it is {_PYTHON2_NAMES[top]}"
    if _is_pywebsocket(module):
        name = module.split(".")[-1]
        return _OLD_NAMES.get(name, "pywebsocket 4.0.2 has no such module")
    for folder in Path(path).parents:
        for candidate in (folder / f"{top}.py", folder / top / "__init__.py"):
            if candidate.is_file():
                return f"it is in {folder}: start wshost with PYTHONPATH={folder}"
    package = _PACKAGES.get(module, _PACKAGES.get(top, top))
    return f"{sys.executable} -m pip install {package}"
