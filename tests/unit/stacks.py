"""The two stack files as data that a test may change, and what the program declares for them."""

import functools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

from cli.recording import ROOT, Recorded, Recording, record_program
from cli.render import manifests
from cli.stack_file import PLATFORM_KEY, StackFile, read_stack_file
from settings import Settings, SettingsError, ledger_file, load
from settings.kafka_names import plan_all_topics

STACKS = ("dev", "prod")
SERVICES = ("gateway-service", "payment-service", "wallet-service")
REMOVED = object()
"""As a value of a change: the key is not there at all."""
Changes = Mapping[str, object]
"""Path, its parts separated by ``/`` (list positions as numbers) → the new value."""


def platform_of(stack: str, changes: Changes | None = None) -> dict[str, Any]:
    """A copy of a stack's ``payments:platform`` with changes; YAML anchors share nothing in it."""
    platform: dict[str, Any] = json.loads(_committed(stack))
    for path, value in (changes or {}).items():
        _change(platform, path.split("/"), value)
    return platform


@functools.cache
def _committed(stack: str) -> str:
    return json.dumps(read_stack_file(ROOT / f"Pulumi.{stack}.yaml", stack).platform)


def _change(node: Any, path: list[str], value: object) -> None:
    key: Any = int(path[0]) if isinstance(node, list) else path[0]
    if len(path) > 1:
        _change(node[key], path[1:], value)
    elif value is REMOVED:
        del node[key]
    else:
        node[key] = value


def settings_of(stack: str, changes: Changes | None = None) -> Settings:
    return load(platform_of(stack, changes), source=f"Pulumi.{stack}.yaml")


def problems_of(stack: str, changes: Changes) -> list[str]:
    """What ``load`` says about changed settings, one line a problem; empty when it accepts them."""
    try:
        settings_of(stack, changes)
    except SettingsError as error:
        return [str(problem) for problem in error.problems]
    return []


def stack_file_of(stack: str, changes: Changes | None = None) -> StackFile:
    return stack_file_for(stack, platform_of(stack, changes))


def stack_file_for(stack: str, platform: Mapping[str, Any], secrets: Mapping[str, object] | None = None) -> StackFile:
    """A stack file with this platform; ``secrets`` maps full keys to ``{"secure": …}``."""
    config = {"pulumi:disable-default-providers": ["kubernetes"], PLATFORM_KEY: platform, **(secrets or {})}
    return StackFile(stack=stack, source=f"Pulumi.{stack}.yaml", config=config)


def recording_of(stack: str, changes: Changes | None = None) -> Recording:
    """What the program declares; recorded once for the same settings."""
    return _recorded(stack, json.dumps(platform_of(stack, changes)))


@functools.cache
def _recorded(stack: str, platform: str) -> Recording:
    with ledger_that_agrees() if _asks_for_other_topics(stack, platform) else nullcontext():
        return record_program(stack_file_for(stack, json.loads(platform)))


def _asks_for_other_topics(stack: str, platform: str) -> bool:
    """Whether a test's changes touch what the ledger records; only then the committed one has no say."""
    try:
        changed = load(json.loads(platform), source=stack)
    except SettingsError:
        return False
    return _recorded_part(changed) != _recorded_part(settings_of(stack))


def _recorded_part(settings: Settings) -> dict[str, tuple[int, str | None]]:
    if settings.kafka is None:
        return {}
    planned = plan_all_topics(settings.kafka, settings.topics, settings.services)
    return {name: (topic.partitions, topic.key) for name, topic in planned.items()}


@contextmanager
def ledger_that_agrees() -> Iterator[None]:
    """Changed topics are recorded: for tests of what is declared, not of the ledger."""
    with mock.patch.object(ledger_file, "topic_changes", return_value=[]):
        yield


def manifests_of(stack: str, changes: Changes | None = None) -> dict[str, dict[str, Any]]:
    """File name → manifest, a copy that a test may change."""
    found: dict[str, dict[str, Any]] = json.loads(_rendered(stack, json.dumps(platform_of(stack, changes))))
    return found


@functools.cache
def _rendered(stack: str, platform: str) -> str:
    return json.dumps(manifests(_recorded(stack, platform).resources))


def manifest(
    stack: str, kind: str, name: str, changes: Changes | None = None, *, namespace: str = "payments"
) -> dict[str, Any]:
    """The one object of this kind and name."""
    found = of_kind(stack, kind, changes, namespace=namespace)
    assert name in found, f"no {kind}/{name} in {stack}; there are {', '.join(found)}"
    return found[name]


def of_kind(
    stack: str, kind: str, changes: Changes | None = None, *, namespace: str = "payments"
) -> dict[str, dict[str, Any]]:
    """Name → manifest of one kind in one namespace, the Namespace itself included."""
    return {
        m["metadata"]["name"]: m
        for m in manifests_of(stack, changes).values()
        if m["kind"] == kind and namespace == m["metadata"].get("namespace", m["metadata"]["name"])
    }


def resource(stack: str, name: str, kind: str, changes: Changes | None = None) -> Recorded:
    """The one registration of this logical name whose type ends with ``kind``."""
    found = [r for r in recording_of(stack, changes).resources if r.name == name and r.type.endswith(f":{kind}")]
    assert len(found) == 1, f"{len(found)} resources {kind} {name} in {stack}, expected 1"
    return found[0]


def short_urn(urn: str) -> str:
    """``<last type>::<name>`` of a URN: what a person tells resources apart by."""
    kind, name = urn.split("::")[2:]
    return f"{kind.split('$')[-1]}::{name}"
