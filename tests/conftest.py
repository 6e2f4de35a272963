"""What all tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

# Derandomised: the same examples in every run and on every machine; no deadline: shared cores are slow at times.
settings.register_profile("repository", derandomize=True, deadline=None, database=None, max_examples=100)
settings.load_profile("repository")

_TESTS = Path(__file__).parent
# One cluster or one edge for all tests of the folder: it is started by one worker and not by each.
_STAGES = ("real/postgres", "sandbox/edge", "sandbox/kafka")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what is costly to start go to the same worker, where ``--dist loadgroup`` is asked for."""
    for item in items:
        place = item.path.relative_to(_TESTS).as_posix()
        stage = next((stage for stage in _STAGES if place.startswith(f"{stage}/")), place)
        item.add_marker(pytest.mark.xdist_group(stage))
