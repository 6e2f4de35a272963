"""Which tests go to the same worker of `make test-all`."""

from pathlib import Path

import pytest

from tests.lanes import _FOLDERS, piece_of

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("nodeid", "piece"),
    [
        ("tests/real/postgres/test_etcd.py::test_a[x::y]", "tests/real/postgres/"),
        ("tests/real/postgres/test_client.py::test_b", "tests/real/postgres/"),
        ("tests/sandbox/edge/test_load.py::test_c", "tests/sandbox/edge/"),
        ("tests/sandbox/test_kafka.py::test_d[tests/sandbox/kafka/]", "tests/sandbox/test_kafka.py"),
    ],
)
def test_a_file_is_a_piece_and_so_is_a_folder_with_one_stage(nodeid: str, piece: str) -> None:
    assert piece_of(nodeid) == piece


def test_each_folder_is_there_and_has_a_stage_for_the_whole_run() -> None:
    for folder in _FOLDERS:
        assert 'scope="session"' in (_ROOT / folder / "conftest.py").read_text(encoding="utf-8")
