"""A pytest plugin: with ``--dist loadscope``, tests that share what is costly to start go to the same worker.

Loaded by the Makefile with ``-p tests.lanes``. A file is one piece of work, and so is a folder with one cluster or one
edge for all of its tests.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

_FOLDERS = ("tests/real/postgres/", "tests/sandbox/edge/", "tests/sandbox/kafka/")


def piece_of(nodeid: str) -> str:
    """The piece of work that a test belongs to: its file, or the folder with the stage that it shares."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in _FOLDERS if file.startswith(folder)), file)


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """xdist's own scheduling of scopes, with these pieces as scopes; those with the most tests begin."""

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes | None:
    """Asked before xdist's own, which ``None`` leaves it to."""
    return Lanes(config, log) if config.getvalue("dist") == "loadscope" else None
