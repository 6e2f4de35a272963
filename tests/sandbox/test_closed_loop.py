"""See, decide, act on the real engine: a lag, a finding, a reviewed change, the real autoscaler, an end."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.recording import ROOT
from planning.bottlenecks.sources import Look, write_samples
from planning.twin.plant_constants import PlantConstants
from planning.twin.plant_consumers import ConsumerGroup, ConsumerSpec
from planning.twin.plant_pods import Pods, PodTiming
from sandbox.metric_values import set_external
from tests.sandbox.conftest import STACK, Cluster, Stack

GROUP, CONSUMERS = "payment-service-group", "payment-processors"
LOOK_SECONDS = 15
DURATION_SECONDS = 180
"""Of CONSUMER_LAG in planning/bottlenecks/rules.yaml."""
_QUIET = {
    "api_p99_seconds": 0.2,
    "database_pool_use": 0.3,
    "database_write_pool_use": 0.3,
    "memory_use_of_limit": 0.4,
    "breaker_refused_share": 0.0,
    "lag_per_consumer": 100.0,
    "replicas_of_maximum": 0.3,
}
_APIS = ("payment-service", "wallet-service", "gateway-service")
_CONSUMERS = ("wallet-processors", "gateway-processors")


@dataclass
class Plant:
    """The topic and its consumers, since KWOK's pods process nothing: real replicas in, lag out.

    Its time runs faster than the cluster's: a look every second or so stands for 15 s.
    """

    cluster: Cluster
    samples: Path
    rate: float = 300.0
    now: float = 0.0
    replicas: int = 0
    looks: list[Look] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec = ConsumerSpec(
            name=CONSUMERS, group=GROUP, topic="payment-events", partitions=24, messages_per_second=300,
            add_above_lag=1000, rate_floor_share=0.75, lag_objective=24_000, events_per_entry_request=1.0,
        )  # fmt: skip
        timing = PodTiming(ready_after_seconds=0.0, leave_seconds=0.0, surge_percent=0, max_unavailable=1)
        self.group = ConsumerGroup(spec=spec, constants=PlantConstants(), pods=Pods.settled(timing, 3))

    def step(self) -> None:
        self.replicas = self.group.pods.replicas = self.cluster.replicas(CONSUMERS)
        for _ in range(3):
            self.now += LOOK_SECONDS / 3
            self.group.pods.advance(self.now)
            self.group.step(self.now, LOOK_SECONDS / 3, self.rate)
        lag = self.group.lag
        set_external(self.cluster.sandbox.layout.metrics, "kafka_consumer_lag", round(lag), {"consumergroup": GROUP})
        values = {(metric, name): value for metric, value in _QUIET.items() for name in (*_APIS, *_CONSUMERS)}
        values |= {("lag_per_consumer", CONSUMERS): lag / self.group.members}
        values |= {
            ("replicas_of_maximum", CONSUMERS): self.replicas / 24,
            ("requests_per_second", "payment-service"): self.rate,
        }
        self.looks.append(Look(time_seconds=self.now, values=values))
        self.samples.write_text("\n".join(write_samples(self.looks)) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Payctl:
    path: Path
    samples: Path
    audit: Path

    def __call__(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        common = ["--stack", STACK, "--config-file", str(self.path), "--samples", str(self.samples)]
        return subprocess.run(
            [str(ROOT / "payctl"), command, *common, *arguments],
            capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def findings(self) -> list[dict[str, Any]]:
        answer = self("detect", "--json")
        assert answer.returncode in (0, 1), answer.stderr
        found: list[dict[str, Any]] = json.loads(answer.stdout)["findings"]
        return found

    def up(self) -> None:
        """Everything that the file declares, the roles of the sandbox's database too: acting needs a stack so."""
        command = [str(ROOT / "payctl"), "up", "--stack", STACK, "--config-file", str(self.path)]
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=900, check=False, stdin=subprocess.DEVNULL
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr

    def act(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self("act", "--audit", str(self.audit), *arguments)

    def record(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def payctl(stack: Stack, tmp_path: Path) -> Payctl:
    """The committed stack file with its comments, on the test's sandbox."""
    committed = (ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    kubeconfig = stack.platform["cluster"]["kubeconfig"]
    stack.path.write_text(committed.replace(".sandbox/kubeconfig", kubeconfig), encoding="utf-8")
    return Payctl(path=stack.path, samples=tmp_path / "samples.csv", audit=tmp_path / "audit.jsonl")


def _eventually(condition: Callable[[], bool], *, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.5)


def _minimum(cluster: Cluster) -> int:
    scaler = cluster.get("horizontalpodautoscaler", f"{CONSUMERS}-hpa", "--namespace", "payments")
    return int(scaler["spec"]["minReplicas"])


def test_a_lag_becomes_a_finding_a_change_and_an_end(payctl: Payctl, cluster: Cluster) -> None:
    payctl.up()
    plant = Plant(cluster=cluster, samples=payctl.samples)
    for _ in range(3):
        plant.step()
    assert payctl.findings() == []

    plant.rate = 1500.0
    began = None
    while began is None or plant.now - began < DURATION_SECONDS - LOOK_SECONDS:
        plant.step()
        if began is None and plant.group.lag / plant.group.members >= 1500:
            began = plant.now
        assert plant.group.members < 20, "the autoscaler alone was faster: nothing is left to decide"
    assert payctl.findings() == [], "reported before its duration"
    plant.step()
    [finding] = payctl.findings()
    assert (finding["kind"], finding["subject"], finding["since_seconds"]) == ("CONSUMER_LAG", CONSUMERS, began)

    running = plant.replicas  # as the samples say; the autoscaler goes on meanwhile
    text = payctl.path.read_text(encoding="utf-8")
    acted = payctl.act("--yes", "--verify-seconds", "15")
    assert acted.returncode == 0, acted.stdout + acted.stderr
    wanted = running + 3
    assert _minimum(cluster) == wanted
    after = payctl.path.read_text(encoding="utf-8")
    differing = [(a, b) for a, b in zip(text.splitlines(), after.splitlines(), strict=True) if a != b]
    assert [line.strip() for _, line in differing] == [f"min_replicas: {wanted}"]

    _eventually(lambda: cluster.replicas(CONSUMERS) >= wanted)
    for _ in range(60):
        plant.step()
        if plant.group.lag < 1500:  # half a second of work is always uncommitted
            break
    for _ in range(6):
        plant.step()
    # The real autoscaler may have gone on to its maximum meanwhile, which is another finding's business.
    assert "CONSUMER_LAG" not in {finding["kind"] for finding in payctl.findings()}
    time.sleep(15)
    verified = payctl.act("--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    applying, applied, judged = payctl.record()
    assert (applying["decision"], applying["id"]) == ("applying", applied["id"])
    assert (applied["decision"], judged["decision"]) == ("applied", "verified")
    assert applied["id"] == judged["id"]
    assert applied["edits"] == [
        {
            "path": ["services", "payment-service", "consumer", "scaling", "min_replicas"],
            "before": 3,
            "after": wanted,
        }
    ]
    assert applied["details"]["forecast"]["helps"]
    assert applied["details"]["cost"]["minimum"] > 0
    assert "min_replicas" in applied["details"]["diff"]


def test_a_change_that_did_not_help_is_undone(payctl: Payctl, cluster: Cluster) -> None:
    payctl.up()
    plant = Plant(cluster=cluster, samples=payctl.samples)
    for _ in range(3):
        plant.step()
    plant.rate = 1500.0
    for _ in range(16):
        plant.step()
    text = payctl.path.read_text(encoding="utf-8")
    acted = payctl.act("--unattended", "--budget", "1000", "--verify-seconds", "15")
    assert acted.returncode == 0, acted.stdout + acted.stderr
    assert _minimum(cluster) > 3

    # What arrives is more than any number of consumers reads: the forecast was wrong.
    plant.rate = 20_000.0
    time.sleep(15)
    for _ in range(20):
        plant.step()
    undone = payctl.act("--verify", "--unattended", "--budget", "1000")
    assert undone.returncode == 1, undone.stdout + undone.stderr
    assert payctl.path.read_text(encoding="utf-8") == text
    assert _minimum(cluster) == 3
    assert [entry["decision"] for entry in payctl.record()] == ["applying", "applied", "reverting", "reverted"]
    assert {entry["actor"] for entry in payctl.record()} == {"unattended"}


def test_beyond_the_policy_limit_is_refused_and_nothing_changes(payctl: Payctl, cluster: Cluster) -> None:
    payctl.up()
    plant = Plant(cluster=cluster, samples=payctl.samples)
    plant.rate = 1500.0
    for _ in range(16):
        plant.step()
    # A stack that somebody has given more pods than the pack's owners allow; its settings are in order.
    document = yaml.safe_load(payctl.path.read_text(encoding="utf-8"))
    document["config"]["payments:platform"]["services"]["payment-service"]["api"]["scaling"]["max_replicas"] = 21
    payctl.path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    text, minimum = payctl.path.read_text(encoding="utf-8"), _minimum(cluster)
    acted = payctl.act("--yes")
    assert acted.returncode == 1, acted.stdout + acted.stderr
    assert "scaling-limits" in acted.stdout
    assert payctl.path.read_text(encoding="utf-8") == text
    assert _minimum(cluster) == minimum == 3
    [entry] = payctl.record()
    assert entry["decision"] == "refused"
    assert "scaling-limits" in entry["reason"]


def test_an_edit_that_nobody_has_deployed_goes_along_with_no_change(payctl: Payctl, cluster: Cluster) -> None:
    payctl.up()
    plant = Plant(cluster=cluster, samples=payctl.samples)
    plant.rate = 1500.0
    for _ in range(16):
        plant.step()
    document = yaml.safe_load(payctl.path.read_text(encoding="utf-8"))
    document["config"]["payments:platform"]["services"]["wallet-service"]["api"]["scaling"]["max_replicas"] -= 1
    payctl.path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    text, minimum = payctl.path.read_text(encoding="utf-8"), _minimum(cluster)
    acted = payctl.act("--yes")
    assert acted.returncode == 1, acted.stdout + acted.stderr
    said = " ".join(acted.stdout.split())
    assert "is not up to date with" in said
    assert "HorizontalPodAutoscaler wallet-service" in said
    assert "payment-service" not in said.partition("deploy the rest with it: ")[2].partition("; fix:")[0]
    assert payctl.path.read_text(encoding="utf-8") == text
    assert _minimum(cluster) == minimum == 3
