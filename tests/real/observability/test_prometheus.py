"""A real Prometheus loads all rules of a stack and evaluates each without an error."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.observability.catalogue import Source
from components.observability.known import METRICS
from sandbox.ports import free_port
from tests.real.observability.prometheus_binaries import binaries
from tests.real.observability.test_rules import rule_groups, write_rules
from tests.unit.stacks import STACKS

_PATIENCE_SECONDS = 60


@contextmanager
def prometheus(folder: Path, rule_files: list[str]) -> Iterator[str]:
    """A Prometheus with these rules and nothing to scrape; yields its address."""
    config = {"global": {"evaluation_interval": "1s"}, "rule_files": rule_files}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    options = {"config.file": "prometheus.yaml", "storage.tsdb.path": "data", "web.listen-address": address}
    command = [binaries().prometheus, *(f"--{key}={value}" for key, value in options.items())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def evaluated_rules(address: str, log: Path) -> list[dict[str, Any]]:
    """All rules, once each has been evaluated."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/api/v1/rules", timeout=5) as answer:  # noqa: S310 # our own server
                groups = json.load(answer)["data"]["groups"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            groups = []
        rules = [rule for group in groups for rule in group["rules"]]
        if rules and all(rule["health"] != "unknown" for rule in rules):
            return rules
        time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8")[-2000:])


@pytest.mark.real
@pytest.mark.parametrize("stack", STACKS)
def test_a_real_prometheus_evaluates_every_rule(stack: str, tmp_path: Path) -> None:
    groups = rule_groups(stack)
    for group in (group for of_object in groups.values() for group in of_object):
        group["interval"] = "1s"  # instead of waiting half a minute for the first evaluation
    files = write_rules(tmp_path, groups)
    with prometheus(tmp_path, files) as address:
        rules = evaluated_rules(address, tmp_path / "log")
        with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:  # noqa: S310 # our own server
            exported = answer.read().decode()
    # What the alerts on the rules themselves read, as this very program names and labels it.
    own = {m.name: m for m in METRICS if m.source is Source.PROMETHEUS and m.name.startswith("prometheus_")}
    assert own
    assert [name for name in own if f"{name}{{rule_group=" not in exported] == []
    assert len(rules) == sum(len(group["rules"]) for of_object in groups.values() for group in of_object)
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
    assert "DeadMan" in firing
