"""What holds for every autoscaler and every load: limits, rates, bands, and the quick form of pods."""

from itertools import pairwise
from math import ceil
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from planning.twin.hpa import Controller, Decision, HpaSpec, Observation, UniformPods
from tests.unit.planning.twin.examples import (
    AT_ONCE,
    LAG,
    controller,
    cpu,
    deployment,
    external,
    follow,
    hpa,
    lag,
    observe,
    utilization,
)

LIMITS = st.tuples(st.integers(1, 20), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1]))
POLICY = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Pods", "Percent"]),
        "value": st.integers(1, 150),
        "periodSeconds": st.sampled_from([15, 30, 60, 300]),
    }
)
DIRECTION = st.fixed_dictionaries(
    {
        "stabilizationWindowSeconds": st.sampled_from([0, 15, 60, 300]),
        "selectPolicy": st.sampled_from(["Max", "Min", "Disabled"]),
        "policies": st.lists(POLICY, min_size=1, max_size=3),
        "tolerance": st.sampled_from(["0", "100m", "500m"]),
    }
)
BEHAVIOR = st.none() | st.fixed_dictionaries({}, optional={"scaleUp": DIRECTION, "scaleDown": DIRECTION})
LAGS = st.lists(st.integers(0, 60_000), min_size=1, max_size=40)


@given(limits=LIMITS, behavior=BEHAVIOR, lags=LAGS, start=st.integers(0, 100))
def test_never_outside_the_limits(
    limits: tuple[int, int], behavior: dict[str, Any] | None, lags: list[int], start: int
) -> None:
    lowest, highest = limits
    replicas = lowest + start % (highest - lowest + 1)
    subject = controller(lag(), lowest=lowest, highest=highest, behavior=behavior)
    assert all(lowest <= after <= highest for after in follow(subject, replicas=replicas, lags=lags))


@given(lags=LAGS, up=st.integers(1, 5), down=st.integers(1, 5), period=st.sampled_from([15, 30, 60, 120]))
def test_never_faster_than_the_policies_over_any_period(lags: list[int], up: int, down: int, period: int) -> None:
    """No change goes further from the number at the start of its period than the policy allows, in its direction."""
    behavior = {
        name: {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Pods", "value": value, "periodSeconds": period}],
        }
        for name, value in (("scaleUp", up), ("scaleDown", down))
    }
    sequence = [20, *follow(controller(lag(), behavior=behavior), replicas=20, lags=lags)]
    for index, (before, after) in enumerate(pairwise(sequence)):
        start = sequence[max(0, index - period // 15 + 1)]
        assert before <= after or after >= start - down
        assert before >= after or after <= start + up


@given(percent=st.integers(1, 200), lags=LAGS)
def test_never_faster_than_a_percentage(percent: int, lags: list[int]) -> None:
    step = {"type": "Percent", "value": percent, "periodSeconds": 15}
    rules = {"stabilizationWindowSeconds": 0, "policies": [step]}
    subject = controller(lag(), behavior={"scaleUp": rules, "scaleDown": rules})
    before = 10
    for after in follow(subject, replicas=10, lags=lags):
        assert before * (1 - percent / 100) - 1 < after < before * (1 + percent / 100) + 1
        before = after


@given(
    replicas=st.integers(1, 100),
    share=st.floats(0, 2, allow_nan=False),
    up=st.integers(0, 900),
    down=st.integers(0, 900),
)
def test_no_change_inside_the_band_and_the_total_over_the_target_outside(
    replicas: int, share: float, up: int, down: int
) -> None:
    total = int(replicas * 1_000_000 * share)
    behavior = {
        "scaleUp": AT_ONCE["scaleUp"] | {"tolerance": f"{up}m"},
        "scaleDown": AT_ONCE["scaleDown"] | {"tolerance": f"{down}m"},
    }
    decision = controller(lag(), highest=1000, behavior=behavior).sync(
        Observation(now_seconds=0, spec_replicas=replicas, status_replicas=replicas, external={LAG: [total]})
    )
    # The controller windows count the present number at the first synchronisation; the proposal is what is meant.
    wish = decision.proposals[0].replicas
    ratio = total / (1_000_000 * replicas)
    margin = 1e-9
    if 1 - down / 1000 + margin < ratio < 1 + up / 1000 - margin:
        assert wish == replicas
    elif not 1 - down / 1000 - margin <= ratio <= 1 + up / 1000 + margin:
        assert wish == ceil(total / 1_000_000)


@given(messages=st.integers(0, 99_000), replicas=st.integers(1, 100))
def test_unconstrained_the_target_per_pod_is_met_at_once(messages: int, replicas: int) -> None:
    subject = controller(lag(), highest=100)
    subject.sync(observe(0, spec=replicas, lag_messages=replicas * 1000))
    decision = subject.sync(observe(15, spec=replicas, lag_messages=messages))
    ratio = messages / (replicas * 1000)
    if ratio < 0.899 or ratio > 1.101:
        assert decision.desired_replicas == max(1, ceil(messages / 1000))


@given(behavior=BEHAVIOR, lags=LAGS)
def test_the_same_observations_give_the_same_decisions(behavior: dict[str, Any] | None, lags: list[int]) -> None:
    def decisions() -> list[Decision]:
        subject, replicas, made = controller(lag(), behavior=behavior), 5, []
        for index, messages in enumerate(lags):
            made.append(subject.sync(observe(index * 15.0, spec=replicas, lag_messages=messages)))
            replicas = made[-1].desired_replicas
        return made

    assert decisions() == decisions()


COUNTS = st.integers(0, 6)
PODS = st.builds(
    UniformPods,
    ready=COUNTS,
    settling=COUNTS,
    starting=COUNTS,
    unsampled=COUNTS,
    pending=COUNTS,
    terminating=COUNTS,
    terminating_ready=st.booleans(),
    cpu_millicores=st.integers(0, 2_000),
    memory_bytes=st.integers(0, 2**32),
)
METRICS = st.lists(
    st.sampled_from(
        [
            cpu(70),
            cpu(150),
            cpu(70, "app"),
            utilization("memory", 80),
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1"}}},
            {
                "type": "Pods",
                "pods": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}},
            },
            external({"type": "Value", "value": "1"}),
            lag(),
        ]
    ),
    min_size=1,
    max_size=4,
)


@given(
    pods=PODS,
    metrics=METRICS,
    spec=st.integers(0, 30),
    status=st.integers(0, 30),
    ratio=st.integers(0, 3_000),
    queue=st.integers(0, 40_000),
)
def test_the_quick_form_of_pods_decides_like_the_pods_one_by_one(
    *, pods: UniformPods, metrics: list[dict[str, Any]], spec: int, status: int, ratio: int, queue: int
) -> None:
    now = 10_000.0
    names = {"queue": queue}

    def decision(given_pods: Any, pod_metrics: dict[str, Any]) -> Decision:
        subject = Controller(HpaSpec.from_manifest(hpa(*metrics, behavior=AT_ONCE), target=deployment()))
        return subject.sync(
            Observation(
                now_seconds=now,
                spec_replicas=spec,
                status_replicas=status,
                pods=given_pods,
                external={LAG: [ratio]},
                pod_metrics=pod_metrics,
            )
        )

    assert decision(pods, dict(names)) == decision(pods.expand(now), dict(names))


@given(lags=LAGS)
def test_observations_may_be_reused_in_place(lags: list[int]) -> None:
    """Nothing of an observation is kept: changing it afterwards changes no later decision."""
    fresh = follow(controller(lag(), behavior={}), replicas=5, lags=lags)
    subject, reused, sequence = controller(lag(), behavior={}), observe(0, spec=5, lag_messages=0), []
    values = [0]
    reused.external = {LAG: values}
    for index, messages in enumerate(lags):
        reused.now_seconds, values[0] = index * 15.0, messages * 1000
        decision = subject.sync(reused)
        reused.spec_replicas = reused.status_replicas = decision.desired_replicas
        sequence.append(decision.desired_replicas)
        values[0] = -1
    assert sequence == fresh
