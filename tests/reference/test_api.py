"""Every name of the oracle exists in our package, with the same value, parameters, bases and methods.

What we have beyond that is not looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from oracle import Oracle

_API = Path(__file__).with_name("api.py")

# Differences that are wanted: patterns of names, and why. One that matches nothing fails, too.
_RULES_IN_RUST = "the grammar and the rules are Rust's; this is a part of how the reference does it"
_SERVER_IN_RUST = "the server inside is not one of `socketserver`"
_GONE_IN_315 = "its base in the reference, CGIHTTPRequestHandler, is gone in Python 3.15"
_WANTED = {
    "common._parse_extension*": _RULES_IN_RUST,
    "dispatch._*_HANDLER_NAME": _RULES_IN_RUST,
    "dispatch._SOURCE_*": _RULES_IN_RUST,
    "dispatch._extract_handler": _RULES_IN_RUST,
    "dispatch.Dispatcher._source_handler_files_in_dir": "the registry of handlers scans, and scans again",
    "extensions._AverageRatioCalculator": "how much messages shrank is logged one by one",
    "extensions._log_*_compression_ratio": "how much messages shrank is logged one by one",
    "extensions._available_processors": _RULES_IN_RUST,
    "extensions._PerMessageDeflateFramer._process_*": "done by the filters themselves",
    "handshake._LOGGER": "the records have the same logger name",
    "handshake.base._SUPPORTED_VERSIONS": _RULES_IN_RUST,
    "handshake.base._VERSION_LATEST*": _RULES_IN_RUST,
    "handshake.hybi._SEC_WEBSOCKET_KEY_REGEX": _RULES_IN_RUST,
    "http_header_util._SEPARATORS": _RULES_IN_RUST,
    "http_header_util._is_c*": _RULES_IN_RUST,
    "request_handler.WebSocketRequestHandler": _GONE_IN_315,
    "server_util._get_logger_from_class": "the records have the same logger name",
    "standalone._DEFAULT_*": "the command line and its defaults are the binary's",
    "standalone._build_option_parser": "the command line is the binary's",
    "standalone.WebSocketServer*": _SERVER_IN_RUST,
    "stream._NOOP_MASKER": _RULES_IN_RUST,
    "stream._build_frame": _RULES_IN_RUST,
    "stream._create_control_frame": _RULES_IN_RUST,
    "stream._filter_and_format_frame_object": _RULES_IN_RUST,
    "util.RepeatedXorMasker._mask_using_*": "there is one way to mask here",
    "websocket_server.WebSocketRequestHandler": _GONE_IN_315,
    "websocket_server.WebSocketServer*": _SERVER_IN_RUST,
}


def _dump(python: str) -> dict[str, Any]:
    # Without the search path of the test run: each interpreter has one `pywebsocket3`, the installed one.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-W", "ignore", _API], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    api: dict[str, Any] = json.loads(done.stdout)
    return api


def _differences(path: str, expected: Any, found: Any) -> dict[str, str]:
    """What differs, by name; names that only `found` has do not count."""
    if expected == found:
        return {}
    if found is None or not isinstance(expected, dict):
        return {path: f"expected {expected}, found {found}"}
    differences = {}
    for key, value in expected.items():
        # A class's `call`, `bases` and so on are reported as the class's own, its methods by their names.
        inner = (
            path
            if key in {"call", "bases", "class", "methods", "value", "module", "type"}
            else f"{path}.{key}"
        )
        differences.update(_differences(inner, value, found.get(key)))
    return differences


@pytest.fixture(scope="module")
def differences(oracle: Oracle) -> dict[str, str]:
    expected, found = _dump(str(oracle.python)), _dump(sys.executable)
    return {
        name.partition(".")[2]: text
        for module, names in expected.items()
        for name, text in _differences(module, names, found.get(module)).items()
    }


def test_the_oracle_is_read(oracle: Oracle) -> None:
    expected = _dump(str(oracle.python))
    assert len(expected) > 10
    assert expected["pywebsocket3.common"]["OPCODE_PONG"] == {"value": "10"}
    assert expected["pywebsocket3.stream"]["Stream"]["methods"]["send_ping"] == ["body", "binary=False"]


def test_names(differences: dict[str, str]) -> None:
    unwanted = {
        name: text
        for name, text in differences.items()
        if not any(fnmatchcase(name, pattern) for pattern in _WANTED)
    }
    assert not unwanted, "\n" + "\n".join(f"{name}: {text}" for name, text in sorted(unwanted.items()))


@pytest.mark.parametrize("pattern", _WANTED)
def test_wanted_differences_are_there(differences: dict[str, str], pattern: str) -> None:
    assert any(fnmatchcase(name, pattern) for name in differences)


def test_old_names() -> None:
    """Names that releases before 4 had and that handlers still import."""
    script = """
from mod_pywebsocket import _stream_base, _stream_hybi, common, extensions, standalone, stream, util
from mod_pywebsocket import request_handler, server_util, websocket_server
from mod_pywebsocket.handshake import HandshakeException, _base, base, build_location
assert build_location is _base.build_location
# wptserve before 2022.
for name in ["get_mandatory_header", "parse_token_list", "validate_mandatory_header", "validate_subprotocol"]:
    assert getattr(_base, name) is getattr(base, name)
assert _base.VersionException is base.VersionException
assert (stream.Stream, stream.StreamOptions) == (base.Stream, base.StreamOptions)
assert extensions.get_extension_processor is base.get_extension_processor
assert standalone.WebSocketRequestHandler is request_handler.WebSocketRequestHandler
assert standalone._StandaloneRequest is request_handler._StandaloneRequest
assert standalone._StandaloneConnection is request_handler._StandaloneConnection
assert standalone._alias_handlers is websocket_server._alias_handlers
assert standalone._configure_logging is server_util.configure_logging
assert _stream_base.BadOperationException is stream.BadOperationException
assert _stream_hybi.Stream is stream.Stream
assert _stream_hybi.create_text_frame is stream.create_text_frame
assert _base.get_mandatory_header is base.get_mandatory_header
assert _base.HandshakeException is HandshakeException
assert common.DEFLATE_FRAME_EXTENSION == "deflate-frame"
assert common.VERSION_HYBI08 == 8
assert extensions.is_compression_extension("permessage-deflate")
assert not extensions.is_compression_extension("mux")
try:
    1 / 0
except ZeroDivisionError:
    assert "ZeroDivisionError" in util.get_stack_trace()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("secure", "host", "location"),
    [
        (False, "a.example", "ws://a.example/echo?x=1"),
        (False, "a.example:80", "ws://a.example/echo?x=1"),
        (False, "a.example:443", "ws://a.example:443/echo?x=1"),
        (True, "a.example", "wss://a.example/echo?x=1"),
        (True, "a.example:8880", "wss://a.example:8880/echo?x=1"),
    ],
)
def test_build_location(secure: bool, host: str, location: str) -> None:
    from pywebsocket3.handshake._base import build_location

    class Request:
        headers_in = {"Host": host}  # noqa: RUF012
        unparsed_uri = "/echo?x=1"

        def is_https(self) -> bool:
            return secure

    assert build_location(Request()) == location
