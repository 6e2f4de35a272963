"""One secure cluster for all tests of this folder; each uses topics and groups that no other one reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import kafka
from tests.sandbox.kafka.pods import Pods
from tests.sandbox.kafka.stage import Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    built = Stage.build(tmp_path_factory.mktemp("kafka").resolve())
    yield built
    kafka.stop(built.cluster)


@pytest.fixture
def pods(stage: Stage, tmp_path: Path) -> Iterator[Pods]:
    made = Pods(stage=stage, folder=tmp_path)
    yield made
    made.stop()
