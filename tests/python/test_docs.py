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


def defined_tests() -> set[str]:
    """The names of all tests, of Python and of Rust, and of the files that hold them."""
    files = [
        *(REPOSITORY / "tests").rglob("*.py"),
        *(REPOSITORY / "tests" / "rust").glob("*.rs"),
        *(REPOSITORY / "src").rglob("*.rs"),
    ]
    names = {file.name for file in files}
    for file in files:
        names.update(re.findall(r"^\s*(?:def|fn) (\w+)\(", file.read_text(), re.M))
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_test_that_a_page_names_is_there(page: Path) -> None:
    """A promise names the test that keeps it, as `test_name` or as `file.rs::name`."""
    text = page.read_text()
    named = re.findall(r"`(?:[\w/]+\.(?:py|rs)::)?(test_\w+)`", text) + re.findall(
        r"`[\w/]+\.rs::(\w+)`", text
    )
    missing = sorted(set(named) - defined_tests())
    assert not missing, f"{page.name} names tests that are not there: {missing}"


def test_each_promise_of_the_security_page_names_a_test() -> None:
    """What nothing checks is no promise."""
    text = (REPOSITORY / "docs" / "security.md").read_text()
    promised = text.split("## What is promised")[1].split("\n## ")[0]
    promises = re.split(r"\n- (?=\*\*)", promised)[1:]
    assert len(promises) > 5
    for promise in promises:
        assert re.search(r"`test_\w+`|`[\w/]+\.rs::\w+`", promise), f"no test is named for:\n{promise}"
