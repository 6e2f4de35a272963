"""Traces of pods: which of them count, and in which direction."""

from tests.sandbox.differential.building import external, free, measuring, of_pods, resource, trace
from tests.sandbox.differential.pod_kinds import PodKind, as_many, ghosts, no_pods, one_ghost, some
from tests.sandbox.differential.scenario import Branch, Step, Trace

_LAG = "kafka_consumer_lag"
_UNREADY = {
    PodKind.PENDING: Branch.PENDING,
    PodKind.INITIALISING_UNREADY: Branch.INITIALISING_UNREADY,
    PodKind.INITIALISING_STALE: Branch.INITIALISING_STALE,
    PodKind.OLD_UNREADY_NEVER_READY: Branch.OLD_UNREADY_NEVER_READY,
    PodKind.NO_READY_CONDITION: Branch.NO_READY_CONDITION,
    PodKind.NO_START_TIME: Branch.NO_START_TIME,
}
_COUNTED = {
    PodKind.INITIALISING_FRESH: Branch.INITIALISING_FRESH,
    PodKind.OLD_UNREADY_ONCE_READY: Branch.OLD_UNREADY_ONCE_READY,
    PodKind.SUCCEEDED: Branch.SUCCEEDED,
}
_IGNORED = {PodKind.TERMINATING: Branch.TERMINATING, PodKind.FAILED: Branch.FAILED}


def traces() -> list[Trace]:
    """All of them."""
    return [*_kinds(), *_missing()]


def _kinds() -> list[Trace]:
    """Ten pods of which four are in one state, at 140 % of the request, then others."""
    cpu = free("dev/payment-service", "cpu")
    loads = (140.0, 75.0, 20.0, 100.0, 60.0)
    # Unready pods count as 0 on the way up: 140 % of six pods are 84 % of ten, 1.2 times 70 %, so 12.
    expected = dict.fromkeys(_UNREADY, 12) | dict.fromkeys(_COUNTED, 20) | dict.fromkeys(_IGNORED, 12)
    found = [
        trace(
            f"cpu with pods {kind}",
            cpu,
            [Step(load={"cpu": load}, pods=some(4, kind)) for load in loads],
            branch,
            *([Branch.UNREADY] if kind in _UNREADY else []),
            start=10,
            expect={0: expected[kind]},
        )
        for kind, branch in {**_UNREADY, **_COUNTED, **_IGNORED}.items()
    ]
    memory = measuring(resource("memory", averageUtilization=80))
    kinds = [*_UNREADY, *_IGNORED]
    return [
        *found,
        trace(
            "memory does not wait for readiness",
            memory,
            [Step(load={"memory": load}, pods=some(3, kind)) for kind in kinds for load in (120.0, 50.0)],
            Branch.MEMORY_IGNORES_READINESS,
            Branch.FAILED,
            Branch.TERMINATING,
            start=8,
        ),
        # 116 % of six pods are 69 % of ten; when the other four count too, 116/70 of ten are 17.
        trace(
            "the cpu initialisation period ends",
            cpu,
            [Step(load={"cpu": 116.0}, pods=some(4, PodKind.GROWING_OLD), times=13)],
            Branch.INITIALISING_OVER,
            start=10,
            expect={0: 10},
            path=[17, 20],
        ),
        trace(
            "all pods unready",
            cpu,
            [Step(load={"cpu": 140.0}, pods=some(99, kind)) for kind in kinds],
            Branch.UNREADY,
            Branch.MISSING_ALL,
            start=5,
            expect=[5] * len(kinds),
            reasons=["FailedGetResourceMetric"],
        ),
    ]


def _missing() -> list[Trace]:
    cpu = free("dev/payment-service", "cpu")
    high = measuring(resource("cpu", averageUtilization=120))
    raw = measuring(resource("cpu", averageValue="350m"))
    in_flight = measuring(of_pods("in_flight", "10"))
    missing = PodKind.MISSING
    return [
        trace(
            "missing samples on the way up",
            cpu,
            # 100 % of seven pods are 70 % of ten: inside the tolerance. 140 % are 98 %: 14 pods.
            [Step(load={"cpu": 100.0}, pods=some(3, missing)), Step(load={"cpu": 140.0}, pods=some(3, missing))],
            Branch.MISSING_SOME_UP,
            start=10,
            expect=[10, 14],
        ),
        trace(
            "missing samples on the way down",
            cpu,
            # 20 % of seven pods and 100 % of three are 44 %: 44/70 of ten, so 7.
            [Step(load={"cpu": 20.0}, pods=some(3, missing)), Step(load={"cpu": 20.0}, pods=some(6, missing))],
            Branch.MISSING_SOME_DOWN,
            Branch.MISSING_FLIPS,
            start=10,
            expect=[7, 7],
        ),
        trace(
            "missing samples turn the direction",
            cpu,
            [
                Step(load={"cpu": 60.0}, pods=some(5, missing)),
                Step(load={"cpu": 110.0}, pods=some(5, missing)),
                Step(load={"cpu": 110.0}, pods=some(9, missing)),
                Step(load={"cpu": 40.0}, pods=some(1, missing)),
            ],
            Branch.MISSING_FLIPS,
            start=10,
            expect=[10, 10, 10, 7],
        ),
        trace(
            "missing samples below a target above 100 %",
            high,
            [Step(load={"cpu": load}, pods=some(4, missing)) for load in (30.0, 118.0, 250.0, 60.0)],
            Branch.MISSING_SOME_DOWN,
            start=10,
        ),
        trace(
            "missing and unready together",
            cpu,
            [
                Step(
                    load={"cpu": load},
                    pods=lambda pods, situation: some(2, missing)(
                        [*pods[:2], *some(3, PodKind.PENDING)(pods[2:], situation)], situation
                    ),
                )
                for load in (200.0, 100.0, 300.0, 30.0)
            ],
            Branch.MISSING_SOME_UP,
            Branch.MISSING_SOME_DOWN,
            Branch.PENDING,
            start=10,
        ),
        trace(
            "missing samples, plain averages",
            raw,
            [Step(load={"cpu": load}, pods=some(3, missing)) for load in (140.0, 20.0, 65.0, 100.0)],
            Branch.MISSING_SOME_UP,
            Branch.MISSING_SOME_DOWN,
            Branch.RESOURCE_AVERAGE_VALUE,
            start=10,
        ),
        trace(
            "missing samples of a pods metric",
            in_flight,
            [
                Step(load={"in_flight": load}, pods=some(number, missing))
                for load, number in ((30, 3), (1, 2), (30, 99), (8, 4))
            ],
            Branch.MISSING_SOME_UP,
            Branch.MISSING_SOME_DOWN,
            Branch.MISSING_ALL,
            Branch.PODS_METRIC,
            start=6,
            reasons=["FailedGetPodsMetric"],
        ),
        trace(
            "no sample at all",
            cpu,
            [
                Step(load={"cpu": 140.0}, pods=some(99, missing)),
                Step(load={"cpu": 140.0}),
                Step(load={"cpu": 20.0}, pods=some(99, missing)),
            ],
            Branch.MISSING_ALL,
            start=4,
            expect=[4, 8, 8],
            reasons=["FailedGetResourceMetric"],
        ),
        trace(
            "no pods, and pods that are gone but still reported",
            measuring(resource("cpu", averageUtilization=70), external("ratio", value="1")),
            [
                Step(load={"cpu": 140.0, "ratio": 2.0}, pods=no_pods),
                Step(load={"cpu": 140.0, "ratio": 2.0}, pods=ghosts),
                Step(load={"cpu": 140.0, "ratio": 1.0}, pods=one_ghost),
                Step(load={"cpu": 20.0, "ratio": 0.2}, pods=one_ghost),
            ],
            Branch.NO_PODS,
            start=5,
            expect={0: 5, 1: 5, 2: 10},
            reasons=["FailedGetResourceMetric"],
        ),
        # Four pods at 10 and a gone one at 50 are 18 on average: 1.8 of four pods.
        trace(
            "a pods metric of a pod that is gone",
            in_flight,
            [Step(load={"in_flight": load}, pods=one_ghost) for load in (10.0, 6.1, 30.0, 1.0)]
            + [Step(load={"in_flight": 30.0}, pods=ghosts)],
            Branch.PODS_METRIC,
            Branch.GONE_PODS,
            Branch.NO_PODS,
            start=4,
            expect=[8, 8, 20, 3, 3],
            reasons=["FailedGetPodsMetric"],
        ),
        # Seven pods at 140 % and three without samples are 98 %; the gone pod counts among eleven samples.
        trace(
            "utilisation with a pod that is gone and missing samples",
            cpu,
            [Step(load={"cpu": 140.0}, pods=lambda pods, now: one_ghost(some(3, missing)(pods[::-1], now)[::-1], now))],
            Branch.GONE_PODS,
            Branch.MISSING_SOME_UP,
            start=10,
            expect=[16],
        ),
        trace(
            "no pods under a value target",
            measuring(external("ratio", value="1")),
            [
                Step(load={"ratio": 2.0}, pods=no_pods),
                Step(load={"ratio": 1.05}, pods=no_pods),
                Step(load={"ratio": 1.4}),
            ],
            Branch.NO_PODS,
            Branch.EXTERNAL_VALUE,
            start=5,
            expect=[5, 5, 7],
            reasons=["FailedGetExternalMetric"],
        ),
        # 36 % of ten pods would be six, which is more than the five asked for; 105 % of four would be less than ten.
        trace(
            "more and fewer pods than the scale says",
            cpu,
            [
                Step(load={"cpu": 20.0}, pods=as_many(10, some(2, missing))),
                Step(load={"cpu": 140.0}, pods=as_many(4, some(1, missing)), set_spec=10),
                Step(load={"cpu": 140.0}, pods=as_many(4, some(0, missing))),
            ],
            Branch.COUNT_FLIPS,
            start=5,
            expect=[5, 10, 8],
        ),
    ]
