"""Fixtures: the installed oracle, and pairs of servers, one per tree for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import oracle as oracle_module
import pytest
from oracle import Oracle
from pair import Pair, Pairs
from servers import HANDLERS, Tree


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """The oracle; downloaded when it is not there yet."""
    return oracle_module.install()


@pytest.fixture(scope="session")
def pairs(oracle: Oracle) -> Iterator[Pairs]:
    """Gives the two servers on a tree; they are started once and stopped with the session."""
    running: dict[Tree, Pair] = {}

    def pair_of(tree: Tree) -> Pair:
        if tree not in running:
            running[tree] = Pair.start(oracle, tree)
        return running[tree]

    yield pair_of
    for pair in running.values():
        pair.stop()


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty document root."""
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(scope="session")
def tricks(pairs: Pairs, documents: Path) -> Pair:
    """Both servers on `tests/handlers/tricks`."""
    return pairs(Tree(HANDLERS / "tricks", documents))


@pytest.fixture(scope="session")
def contract(pairs: Pairs, documents: Path) -> Pair:
    """Both servers on `tests/handlers/contract`."""
    return pairs(Tree(HANDLERS / "contract", documents))


@pytest.fixture(scope="session")
def examples(pairs: Pairs, oracle: Oracle) -> Pair:
    """Both servers on the oracle's own examples, handlers and documents."""
    return pairs(Tree(oracle.source / "example", oracle.source / "example"))


@pytest.fixture(scope="session")
def testdata(pairs: Pairs, oracle: Oracle, documents: Path) -> Pair:
    """Both servers on the handlers of the oracle's own tests."""
    return pairs(Tree(oracle.source / "test" / "testdata" / "handlers", documents))
