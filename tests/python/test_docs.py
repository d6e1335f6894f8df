"""The handlers in the documentation work, and its links lead somewhere."""

import re
from pathlib import Path

import pytest
from serving import REPOSITORY, SECONDS, serve, talk

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
HANDLERS = [
    (page, code)
    for page in PAGES
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    if "def web_socket_transfer_data" in code
]


def test_there_are_handlers_in_readme_and_guide() -> None:
    assert {page.name for page, _ in HANDLERS} >= {"README.md", "guide.md"}


@pytest.mark.parametrize(("page", "code"), HANDLERS, ids=lambda value: getattr(value, "name", "code"))
def test_a_handler_of_the_documentation_echoes(page: Path, code: str, tmp_path: Path) -> None:
    (tmp_path / "shown_wsh.py").write_text(code)
    with serve(tmp_path) as host, talk(host, "/shown") as client:
        for message in ["text", b"binary"]:
            client.send(message)
            assert client.recv(SECONDS) == message, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
