"""Property paths in the engine's syntax."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.plugins.kubernetes.paths import expand, get, parse, replaced, show, without

PATHS = st.lists(
    st.text(min_size=1, max_size=8).filter(lambda text: text != "*") | st.integers(min_value=0, max_value=99),
    min_size=1,
    max_size=5,
).map(tuple)


@given(PATHS)
def test_a_shown_path_reads_back(path: tuple[str | int, ...]) -> None:
    assert parse(show(path)) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("spec.replicas", ("spec", "replicas")),
        ("spec.containers[0].image", ("spec", "containers", 0, "image")),
        ('metadata.annotations["a.b/c"]', ("metadata", "annotations", "a.b/c")),
        ("spec.containers[*].image", ("spec", "containers", "*", "image")),
        ("spec.*", ("spec", "*")),
        ('["a"].b', ("a", "b")),
    ],
)
def test_what_people_write(text: str, path: tuple[str | int, ...]) -> None:
    assert parse(text) == path


def test_what_is_no_path() -> None:
    with pytest.raises(ValueError, match="character 5"):
        parse("spec[x]")


OBJECT: dict[str, Any] = {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}}


def test_wildcards_mean_what_exists() -> None:
    assert expand(OBJECT, parse("spec.containers[*].image")) == [("spec", "containers", 0, "image")]
    assert expand(OBJECT, parse("spec.missing.*")) == []


def test_get_replace_and_remove_leave_the_rest_alone() -> None:
    path = parse("spec.containers[0].image")
    assert get(OBJECT, path) == "x"
    assert get(OBJECT, parse("spec.containers[7].image"), "none") == "none"
    assert get(replaced(OBJECT, path, "y"), path) == "y"
    assert without(OBJECT, path) == {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    assert without(OBJECT, parse("spec.nothing.here")) == OBJECT
    assert get(OBJECT, path) == "x", "the original was changed"
