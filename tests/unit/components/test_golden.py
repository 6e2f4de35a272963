"""Both stacks against the manifests under review, byte for byte."""

from difflib import unified_diff
from pathlib import Path

import pytest

from cli.render import to_yaml
from tests.golden.regenerate import GOLDEN, regenerate
from tests.unit.stacks import STACKS, manifests_of

HOW = "If the change is meant: make golden, then read the difference before it is committed."


def difference(stack: str, found: dict[str, str]) -> str:
    """A unified diff of all files; empty when nothing differs."""
    wanted = {path.name: path.read_text(encoding="utf-8") for path in sorted((GOLDEN / stack).glob("*.yaml"))}
    lines: list[str] = []
    for name in sorted({*wanted, *found}):
        before, after = wanted.get(name, "").splitlines(), found.get(name, "").splitlines()
        lines += unified_diff(before, after, f"golden/{stack}/{name}", f"rendered/{stack}/{name}", lineterm="")
    return "\n".join(lines)


@pytest.mark.parametrize("stack", STACKS)
def test_the_rendered_manifests_are_the_golden_ones(stack: str) -> None:
    found = {name: to_yaml(manifest) for name, manifest in manifests_of(stack).items()}
    if shown := difference(stack, found):
        pytest.fail(f"{shown}\n\n{HOW}", pytrace=False)


@pytest.mark.parametrize("stack", STACKS)
def test_a_difference_is_seen_and_shown(stack: str) -> None:
    found = {name: to_yaml(manifest) for name, manifest in manifests_of(stack).items()}
    name = "1-payments-deployment-payment-service.yaml"
    missing = difference(stack, {other: text for other, text in found.items() if other != name})
    assert f"+++ rendered/{stack}/{name}" in missing
    changed = difference(stack, {**found, name: found[name].replace("containerPort: 8080", "containerPort: 8081")})
    assert [line for line in changed.splitlines() if line[0] in "+-" and line[1] not in "+-"] == [
        "-        - containerPort: 8080",
        "+        - containerPort: 8081",
    ]


def test_regenerating_gives_the_committed_bytes(tmp_path: Path) -> None:
    for path in regenerate("dev", tmp_path):
        assert path.read_bytes() == (GOLDEN / "dev" / path.name).read_bytes(), HOW
