"""docs/handlers.md names everything that handlers can use, and nothing else; `pydoc` has a manual."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable

import pytest
from serving import REPOSITORY, environment, program

PAGE = (REPOSITORY / "docs" / "handlers.md").read_text()
STUB = ast.parse((REPOSITORY / "python" / "wshost" / "_native.pyi").read_text())


def documented(section: str) -> list[str]:
    """What stands in the first columns of a section's table."""
    text = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert text, section
    cells = re.findall(r"^\| (`.*?) \| ", text.group(1), re.M)
    return [name for cell in cells for name in re.findall(r"`(.*?)`", cell)]


def names(entries: Iterable[str]) -> list[str]:
    return sorted(entry.split("(")[0] for entry in entries)


def members(*classes: str) -> list[str]:
    """The public members of classes of the native module. `stubtest` compares the stub with the module."""
    found = set()
    for node in STUB.body:
        if isinstance(node, ast.ClassDef) and node.name in classes:
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    found.add(member.name)
                elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                    found.add(member.target.id)
    assert found
    return sorted(name for name in found if not name.startswith("_"))


@pytest.mark.parametrize(
    ("section", "classes"),
    [
        ("Request", ["Request"]),
        ("Stream", ["Stream"]),
        ("Connection", ["Connection"]),
        ("Extension", ["ExtensionParameter"]),
        ("Extension processor", ["ExtensionProcessorInterface", "PerMessageDeflateExtensionProcessor"]),
    ],
)
def test_every_member_is_documented(section: str, classes: list[str]) -> None:
    assert names(documented(section)) == members(*classes)


def test_every_function_of_msgutil_is_documented() -> None:
    program("wheel")
    msgutil = pytest.importorskip("pywebsocket3.msgutil")
    assert names(documented("Functions in `pywebsocket3.msgutil`")) == sorted(msgutil.__all__)


def test_the_close_codes_are_documented() -> None:
    program("wheel")
    common = pytest.importorskip("pywebsocket3.common")
    table = re.findall(r"^\| `(STATUS_\w+)` \| (\d+) \|", PAGE, re.M)
    real = {name: value for name, value in vars(common).items() if name.startswith("STATUS_")}
    assert {name: int(value) for name, value in table} == real


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (
            "pywebsocket3",
            [
                "web_socket_do_extra_handshake",
                "web_socket_transfer_data",
                "web_socket_passive_closing_handshake",
            ],
        ),
        ("pywebsocket3.standalone", ["python -m pywebsocket3.standalone", "-p PORT", "-d DIR", "-m FILE"]),
        ("wshost.server", ["class Server", "ws_url", "wait_for_log"]),
    ],
)
def test_pydoc_has_a_manual(module: str, told: list[str]) -> None:
    program("wheel")
    command = [sys.executable, "-m", "pydoc", module]
    manual = subprocess.run(command, env=environment(), text=True, capture_output=True, timeout=60).stdout
    for words in told:
        assert words in manual
