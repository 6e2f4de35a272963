"""What prod renders for KEDA, carried out by the real operator and adapter, the real HPA controller and a real Kafka.

Only clocks are faster than in prod: the controller syncs every second, windows and periods are divided by 15 or more,
and KWOK's pods are Ready at once.
"""

import time
from collections.abc import Iterator
from copy import deepcopy

import pytest

from planning.twin.keda import hpa_from_scaled_object
from sandbox.metric_values import parse_quantity
from settings.topics import Topic
from tests.sandbox.keda_stage import NAMESPACE, Manifest, Stage, raised, wait_until
from tests.unit.stacks import settings_of

# Long enough for an informer on a busy machine to see a removed pod before the next one may go.
_DOWN_PERIOD_SECONDS = 5
# A wrong decision would be carried out at the next sync, after one second; this is several of them.
_SYNCS_TO_WATCH = 6


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with raised(tmp_path_factory.mktemp("keda").resolve()) as found:
        yield found


def _faster(scaled: Manifest) -> Manifest:
    """The rendered object with other clocks; every other rule, threshold and formula is the program's."""
    changed = deepcopy(scaled)
    behavior = changed["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    behavior["scaleDown"]["stabilizationWindowSeconds"] = 1
    for direction, seconds in (("scaleDown", _DOWN_PERIOD_SECONDS), ("scaleUp", 1)):
        for policy in behavior[direction]["policies"]:
            policy["periodSeconds"] = seconds
    changed["spec"]["pollingInterval"] = 5
    return changed


class Consumers:
    """A consumer group of prod on the stage, with its own topic: tests do not see each other."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name = stage, name
        scaled = stage.rendered("ScaledObject")[name]
        (trigger,) = [each for each in scaled["spec"]["triggers"] if each["type"] == "kafka"]
        self.topic, self.group = trigger["metadata"]["topic"], trigger["metadata"]["consumerGroup"]
        self.minimum = int(scaled["spec"]["minReplicaCount"])
        self.maximum = int(scaled["spec"]["maxReplicaCount"])
        self.threshold = int(scaled["spec"]["advanced"]["scalingModifiers"]["target"])
        topic: Topic = settings_of("prod").topics[self.topic]
        self.partitions = topic.partitions
        stage.kubectl.apply([_faster(scaled)])
        self.await_condition("Ready", "True")

    def produce(self, messages: int) -> None:
        self.stage.broker.produce(self.topic, self.partitions, messages)

    def work_off_to(self, lag: int) -> None:
        self.stage.broker.commit(self.group, self.topic, self.partitions, lag=lag)

    @property
    def replicas(self) -> int:
        return self.stage.replicas(self.name)

    def await_replicas(self, wanted: int) -> None:
        wait_until(lambda: self.replicas == wanted, lambda: f"{self.replicas} consumers, not {wanted}; {self.said()}")

    def await_condition(self, kind: str, status: str) -> None:
        found = self.stage.condition
        wait_until(
            lambda: found(self.name, kind) == status,
            lambda: (
                f"{self.name} {kind} is {found(self.name, kind)}, not {status}: "
                f"{self.stage.scaled_object(self.name).get('status')}"
            ),
        )

    def stays_at(self, wanted: int) -> None:
        """For several syncs of the controller nothing changes."""
        for _ in range(_SYNCS_TO_WATCH):
            assert self.replicas == wanted, self.said()
            time.sleep(1)

    def await_scaling(self, *, active: str) -> None:
        """The controller's own word on whether it can compute a size."""

        def is_so() -> bool:
            found = self.stage.hpa(self.name).get("status", {}).get("conditions") or []
            return any(each["type"] == "ScalingActive" and each["status"] == active for each in found)

        wait_until(is_so, lambda: f"ScalingActive is not {active}: {self.said()}")

    def await_metric(self, per_consumer: int) -> None:
        """The controller has seen this average, in whole units, of the composite metric."""
        wait_until(lambda: self.metric() == per_consumer, lambda: f"{self.metric()}, not {per_consumer}; {self.said()}")

    def metric(self) -> int | None:
        current = self.stage.hpa(self.name).get("status", {}).get("currentMetrics") or []
        for each in current:
            value = each.get("external", {}).get("current", {}).get("averageValue")
            if value is not None:
                return round(parse_quantity(value))
        return None

    def said(self) -> str:
        return str(self.stage.hpa(self.name).get("status"))


def test_the_operator_accepts_what_prod_renders_and_writes_the_predicted_autoscalers(stage: Stage) -> None:
    rendered, deployments = stage.rendered("ScaledObject"), stage.rendered("Deployment")
    scaled_ones = [name for name in deployments if not name.startswith("database-metrics-")]
    assert sorted(rendered) == sorted(scaled_ones), "every workload of prod has one"
    stage.kubectl.apply(list(rendered.values()))
    for name, scaled in rendered.items():
        wait_until(
            lambda name=name: stage.condition(name, "Ready") == "True",  # type: ignore[misc]
            lambda name=name: f"{name}: {stage.scaled_object(name).get('status')}",  # type: ignore[misc]
        )
        real, predicted = stage.hpa(name), hpa_from_scaled_object(scaled, deployments[name])
        assert real["metadata"]["name"] == predicted["metadata"]["name"] == f"{name}-hpa"
        assert real["spec"] == predicted["spec"]
        # The operator labels the ScaledObject with its own name first, and hands its labels on.
        assert real["metadata"]["labels"] == predicted["metadata"]["labels"] | {"scaledobject.keda.sh/name": name}
    made = stage.kubectl.get("hpa", "--namespace", NAMESPACE)["items"]
    assert sorted(each["metadata"]["name"] for each in made) == sorted(f"{name}-hpa" for name in rendered)


def test_lag_above_t_adds_consumers_and_only_lag_below_half_t_removes_them(stage: Stage) -> None:
    consumers = Consumers(stage, "payment-processors")
    least, t = consumers.minimum, consumers.threshold
    consumers.produce((least + 3) * t)  # the group has never committed: all of it is lag
    consumers.await_replicas(least + 3)
    consumers.await_metric(t)
    held = (least + 3) * t * 2 // 3  # two thirds of T per consumer: the literal HPA would remove two
    consumers.work_off_to(held)
    consumers.stays_at(least + 3)
    consumers.await_metric(t)
    consumers.work_off_to((least + 3) * t // 2 - 10)  # just below half
    consumers.await_replicas(least + 2)
    consumers.await_metric(t)
    consumers.stays_at(least + 2)  # one was enough: the same lag is more than half for those that remain
    consumers.work_off_to(0)
    consumers.await_replicas(least)


def test_a_stopped_kafka_never_removes_a_consumer(stage: Stage) -> None:
    """KEDA 2.20.2 does not reach its fallback here: without a broker it cannot rebuild the trigger, and counts nothing.

    Every question of the controller then ends in an error, for which it leaves the size as it is; the input rate adds
    nobody either until a broker answers.
    """
    consumers = Consumers(stage, "gateway-processors")
    wanted = consumers.minimum + 2
    consumers.produce(wanted * consumers.threshold)
    consumers.await_replicas(wanted)
    consumers.await_metric(consumers.threshold)
    stage.broker.stop()
    try:
        consumers.await_scaling(active="False")
        consumers.stays_at(wanted)
    finally:
        stage.broker.start()
    consumers.await_scaling(active="True")
    consumers.work_off_to(0)
    consumers.await_replicas(consumers.minimum)


def test_a_lag_that_cannot_be_read_ends_in_the_fallback_which_holds_and_still_follows_the_rate(stage: Stage) -> None:
    consumers = Consumers(stage, "payment-processors")
    consumers.await_condition("Fallback", "False")
    stage.broker.remove_topic(consumers.topic)
    try:
        consumers.await_condition("Fallback", "True")
        consumers.await_metric(consumers.threshold)  # the formula answers for the failed trigger: what there is
        wanted = consumers.replicas
        stage.prometheus.values[consumers.group] = float((wanted + 1) * consumers.threshold)
        consumers.await_replicas(wanted + 1)
        stage.prometheus.values.pop(consumers.group)
        consumers.stays_at(wanted + 1)
    finally:
        stage.broker.add_topic(consumers.topic, consumers.partitions)
    consumers.await_condition("Fallback", "False")
    consumers.await_replicas(consumers.minimum)


def test_a_silent_prometheus_does_not_keep_lag_from_adding_consumers(stage: Stage) -> None:
    consumers = Consumers(stage, "wallet-processors")
    stage.prometheus.values[consumers.group] = None
    consumers.await_condition("Fallback", "True")
    consumers.produce((consumers.minimum + 2) * consumers.threshold)
    consumers.await_replicas(consumers.minimum + 2)
    consumers.work_off_to(0)
    consumers.stays_at(consumers.minimum + 2)  # without the floor nobody knows how few are enough
    stage.prometheus.values.pop(consumers.group)
    consumers.await_condition("Fallback", "False")
    consumers.await_replicas(consumers.minimum)
