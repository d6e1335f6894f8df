"""WebSocket over HTTP/2 (RFC 8441): wptserve's own server on our packages, and on the oracle's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import oracle as oracle_module
import pytest
from oracle import Oracle

OVER_HTTP2 = Path(__file__).with_name("over_http2.py")

HANDLERS = {
    "echo": """
        def web_socket_do_extra_handshake(request): pass
        def web_socket_transfer_data(request):
            while True:
                message = request.ws_stream.receive_message()
                if message is None:
                    return
                request.ws_stream.send_message(message, binary=isinstance(message, bytes))
    """,
    "attributes": """
        import __main__
        from mod_pywebsocket import common
        def web_socket_do_extra_handshake(request):
            request.ws_protocol = request.ws_requested_protocols[-1]
        def web_socket_transfer_data(request):
            closed = request.ws_stream.receive_message()
            __main__.NOTES.put({
                "names": sorted(name for name in vars(request) if not name.startswith("_")),
                "shown": [
                    request.ws_resource, request.uri, request.unparsed_uri, request.ws_origin,
                    request.ws_version, request.method, request.protocol,
                    request.ws_requested_protocols, request.ws_protocol,
                    common.format_extensions(request.ws_extensions), closed,
                    request.ws_close_code, request.ws_close_reason,
                    request.client_terminated, request.server_terminated,
                ],
            })
    """,
    "extra": """
        def web_socket_do_extra_handshake(request):
            request.extra_headers.append(("x-first", "1"))
            request.extra_headers.append(("x-second", "2"))
        def web_socket_transfer_data(request):
            request.ws_stream.receive_message()
            request.ws_stream.receive_message()
    """,
    "closes": """
        def web_socket_do_extra_handshake(request): pass
        def web_socket_transfer_data(request):
            request.ws_stream.receive_message()
            request.ws_stream.close_connection(3001, "enough")
    """,
    "returns": """
        def web_socket_do_extra_handshake(request): pass
        def web_socket_transfer_data(request): pass
    """,
    "counts": """
        from pywebsocket3 import msgutil
        connections = 0
        def web_socket_do_extra_handshake(request): pass
        def web_socket_transfer_data(request):
            global connections
            connections += 1
            msgutil.send_message(request, str(connections))
    """,
    "raises": """
        def web_socket_do_extra_handshake(request): pass
        def web_socket_transfer_data(request):
            request.ws_stream.receive_message()
            raise ValueError("on purpose")
    """,
    "aborts_later": """
        from mod_pywebsocket import handshake
        def web_socket_do_extra_handshake(request): pass
        def web_socket_transfer_data(request):
            request.ws_stream.receive_message()
            raise handshake.AbortedByUserException("on purpose")
    """,
    "waits": """
        import __main__
        def web_socket_do_extra_handshake(request): pass
        def web_socket_transfer_data(request):
            request.ws_stream.send_message(request.ws_stream.receive_message())
            try:
                request.ws_stream.receive_message()
            except Exception as error:
                __main__.NOTES.put([type(error).__name__, request.client_terminated])
                raise
    """,
    "refuses": """
        from mod_pywebsocket import handshake
        def web_socket_do_extra_handshake(request):
            if request.ws_resource.endswith("?status"):
                raise handshake.HandshakeException("on purpose", 410)
            raise ValueError("on purpose")
        def web_socket_transfer_data(request): pass
    """,
    "aborts": """
        from mod_pywebsocket import handshake
        def web_socket_do_extra_handshake(request):
            raise handshake.AbortedByUserException("on purpose")
        def web_socket_transfer_data(request): pass
    """,
}

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")


@pytest.fixture(scope="module")
def outcomes(
    oracle: Oracle, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What each scenario gives, with the oracle's packages and with ours."""
    folder = tmp_path_factory.mktemp("http2")
    handlers = folder / "handlers"
    for name, source in HANDLERS.items():
        oracle_module.write(handlers / f"{name}_wsh.py", textwrap.dedent(source))
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
            "-keyout", str(key), "-out", str(certificate),
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    packages = oracle_module.install_wptserve()

    def run(python: str, *path: Path) -> dict[str, Any]:
        done = subprocess.run(
            [python, str(OVER_HTTP2), str(handlers), str(certificate), str(key)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [packages, *path]))},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run(str(oracle.python), oracle.alias), run(sys.executable)


# Ours has these besides: `sts` is a line of docs/deviations.md, `ws_deflate` is documented by the reference.
ADDED = {"sts", "ws_deflate"}


def test_as_with_the_oracle(outcomes: tuple[dict[str, Any], dict[str, Any]]) -> None:
    theirs, ours = outcomes
    assert ours.keys() == theirs.keys()
    noted = ours["attributes"]["notes"]
    noted["names"] = [name for name in noted["names"] if name not in ADDED]
    different = {name: (theirs[name], ours[name]) for name in theirs if theirs[name] != ours[name]}
    assert different == {}


def test_the_scenarios_happened(outcomes: tuple[dict[str, Any], dict[str, Any]]) -> None:
    _, ours = outcomes
    echo = b"\x81\x05hello" + b"\x88\x02\x03\xe8"
    assert ours["echo"] == {"headers": [[":status", "200"]], "data": echo.hex(), "end": "ended"}
    assert ours["server_closes"]["data"] == (b"\x88\x08\x0b\xb9enough").hex()
    assert ours["peer_resets"] == ["ConnectionTerminatedException", False]
    assert ours["deflate"]["headers"][1] == ["sec-websocket-extensions", "permessage-deflate"]
    refused = {
        name: ours[name]["headers"][0][1] for name in ("no_handler", "handshake_raises", "wrong_extensions")
    }
    assert refused == {"no_handler": "404", "handshake_raises": "403", "wrong_extensions": "400"}
