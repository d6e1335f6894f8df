"""`pywebsocket3` and `mod_pywebsocket`: two names for the same things."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from serving import Start, environment, handler, program, write

MODULES = [
    "common",
    "dispatch",
    "extensions",
    "handshake",
    "handshake.base",
    "handshake.hybi",
    "http_header_util",
    "msgutil",
    "request_handler",
    "server_util",
    "standalone",
    "stream",
    "util",
    "websocket_server",
]

EVERYTHING = f"""
    import importlib
    import sys

    names = {MODULES!r}
    for first, second in (ORDER, ORDER[::-1]):
        for name in names:
            one = importlib.import_module(f"{{first}}.{{name}}")
            two = importlib.import_module(f"{{second}}.{{name}}")
            assert one is two, name
            assert one is sys.modules[f"{{first}}.{{name}}"] is sys.modules[f"{{second}}.{{name}}"], name
            parent, _, last = f"{{second}}.{{name}}".rpartition(".")
            assert getattr(sys.modules[parent], last) is one, name
            assert one.__name__ == one.__spec__.name == f"pywebsocket3.{{name}}", one.__spec__
    import mod_pywebsocket, pywebsocket3
    assert mod_pywebsocket is pywebsocket3
    from mod_pywebsocket.handshake import AbortedByUserException, hybi
    from pywebsocket3.handshake import AbortedByUserException as same
    assert AbortedByUserException is same
    assert hybi.compute_accept_from_unicode("dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert hybi.compute_accept(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""

SNIPPETS = {
    "everything": 'ORDER = ("pywebsocket3", "mod_pywebsocket")' + EVERYTHING.replace("\n    ", "\n"),
    "everything, the old name first": 'ORDER = ("mod_pywebsocket", "pywebsocket3")'
    + EVERYTHING.replace("\n    ", "\n"),
    "a submodule first": "from mod_pywebsocket.handshake import hybi; hybi.compute_accept",
    "a submodule first, the new name": "from pywebsocket3.handshake import hybi; hybi.compute_accept",
    "a submodule of a module": "import mod_pywebsocket.stream as s; s.create_header(1, 0, 1, 0, 0, 0, 0)",
    "a star": "from mod_pywebsocket import *",
    "a star from a submodule": "from mod_pywebsocket.stream import *; create_text_frame, Stream",
    "an attribute": "import mod_pywebsocket.util; mod_pywebsocket.util.pack_byte(1)",
    "nothing there": "try: import mod_pywebsocket.nothing\n"
    "except ModuleNotFoundError as e: assert 'nothing' in str(e)\n"
    "else: raise AssertionError",
}


@pytest.mark.parametrize("name", SNIPPETS)
def test_imports_in_any_order(start: Start, tmp_path: Path, way: str, name: str) -> None:
    # The first import of a process: in a handler file of a fresh server, and in a fresh interpreter.
    write(tmp_path, "a_wsh.py", handler("request.ws_stream.send_message('fine')", before=SNIPPETS[name]))
    server = start(way=way)
    assert "Traceback" not in server.log.text, server.log.text
    assert server.ask("/a", None) == "fine"
    if way == "wheel":
        python = program("wheel")[0]
        ended = subprocess.run(
            [python, "-c", SNIPPETS[name]], capture_output=True, text=True, env=environment(), cwd=tmp_path
        )
        assert (ended.returncode, ended.stderr) == (0, "")


def test_exceptions_and_processors_cross_the_names(start: Start, tmp_path: Path, way: str) -> None:
    # Raised under one name, caught under the other; a processor of ours is an instance of both.
    source = handler(
        """
        from mod_pywebsocket import msgutil, stream
        from pywebsocket3 import common, _stream_exceptions
        try:
            request.ws_stream.send_message("text", binary=True)
        except stream.BadOperationException as error:
            caught = isinstance(error, msgutil.BadOperationException)
        told = [caught, PROCESSORS, [type(e) is common.ExtensionParameter for e in request.ws_extensions]]
        request.ws_stream.send_message(json.dumps(told))
        """,
        handshake="""
        PROCESSORS.extend([isinstance(p, PerMessageDeflateExtensionProcessor), p.name()]
                          for p in request.ws_extension_processors)
        """,
        before="import json\nfrom mod_pywebsocket.extensions import PerMessageDeflateExtensionProcessor\n"
        "PROCESSORS = []",
    )
    write(tmp_path, "a_wsh.py", source)
    assert json.loads(start(way=way).ask("/a", None)) == [True, [[True, "deflate"]], [True]]


def test_a_process_that_only_imports_ends(tmp_path: Path) -> None:
    program("wheel")
    code = "import pywebsocket3.standalone, threading; print(threading.active_count())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1\n", "")
