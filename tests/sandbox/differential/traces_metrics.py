"""Traces of the arithmetic: one metric, several, tolerances, and what happens when a metric fails."""

from tests.sandbox.differential.building import (
    SIDECAR,
    external,
    free,
    measuring,
    of_object,
    of_pods,
    rendered,
    resource,
    trace,
    with_sidecars,
)
from tests.sandbox.differential.pod_kinds import PodKind, first_reports, some
from tests.sandbox.differential.scenario import Branch, Step, Trace

_LAG = "kafka_consumer_lag"
_RATE = "http_requests_per_second"


def traces() -> list[Trace]:
    """All of them."""
    return [*_tolerances(), *_targets(), *_several()]


def _tolerances() -> list[Trace]:
    lag = free("dev/payment-service", _LAG)
    cpu = free("dev/payment-service", "cpu")
    own = lag.paced("scaleUp", tolerance="0").paced("scaleDown", tolerance="500m")
    values = [11000, 11001, 10800, 10799]
    # 77 of 70 is 1.1 exactly and 63 of 70 is 0.9: both still inside.
    percents = [77, 78, 63, 62]
    lags = [4000, 4001, 2501, 2500, 2499]
    edges = (Branch.TOLERANCE_UP_EDGE, Branch.TOLERANCE_DOWN_EDGE)
    own_edges = (Branch.OWN_TOLERANCE_UP_ZERO, Branch.OWN_TOLERANCE_DOWN_HALF)
    consumers = rendered("dev/payment-processors")
    return [
        trace(
            "tolerance edges of an average",
            lag,
            [Step(load={_LAG: value}) for value in values],
            *edges,
            Branch.EXTERNAL_AVERAGE_VALUE,
            start=10,
            expect=[10, 12, 12, 11],
        ),
        trace(
            "tolerance edges of a utilisation",
            cpu,
            [Step(load={"cpu": percent}) for percent in percents],
            *edges,
            start=10,
            expect=[10, 12, 12, 11],
        ),
        trace(
            "own tolerances 0 and 0.5",
            own,
            [Step(load={_LAG: value}) for value in lags],
            *own_edges,
            start=4,
            expect=[4, 5, 5, 5, 3],
        ),
        trace(
            "own tolerances as the consumers of dev render them",
            consumers,
            [
                Step(load={_LAG: 4000}),
                Step(load={_LAG: 4001}),
                Step(load={_LAG: 2600}, times=3),
                Step(load={_LAG: 2400}, times=20),
            ],
            *own_edges,
            Branch.STABILISE_DOWN,
            start=4,
            expect={0: 4, 1: 5},
            path=[5, 4],
        ),
    ]


def _targets() -> list[Trace]:
    """Every kind of target, its truncations, and both sides of its tolerance."""
    value = measuring(external("ratio", value="1"))
    pods = measuring(of_pods("in_flight", "1"))
    two = with_sidecars(measuring(resource("cpu", container=SIDECAR, averageUtilization=70)))
    main = with_sidecars(measuring(resource("memory", container="payment-service", averageValue="512Mi")))
    whole = with_sidecars(measuring(resource("cpu", averageUtilization=70), resource("memory", averageUtilization=80)))
    ratios = [Step(load={"ratio": ratio}, pods=some(2, PodKind.OLD_UNREADY_ONCE_READY)) for ratio in (1.1, 2.0, 0.5)]
    return [
        # 389m of 500m is 77.8 %, which counts as 77: inside the tolerance of 70. 390m is 78 %.
        trace(
            "utilisation is cut to whole percent",
            free("dev/payment-service", "cpu"),
            [Step(load={"cpu": percent}) for percent in (77.8, 63.0, 78.0, 62.8)],
            Branch.TRUNCATED_UTILISATION,
            start=10,
            expect=[10, 10, 12, 11],
        ),
        trace(
            "an average of pods is cut to whole milli-units",
            pods,
            [Step(load={"in_flight": 1.1}, pods=first_reports("in_flight", 1109))]
            + [Step(load={"in_flight": each}) for each in (1.1, 1.101, 0.9, 0.899)]
            + [Step(load={"in_flight": 1.1}, pods=some(3, PodKind.MISSING))],
            Branch.TRUNCATED_AVERAGE,
            Branch.PODS_METRIC,
            start=10,
            # 11.009 over ten pods is 1.1009, which counts as 1.1: inside the tolerance.
            expect=[10, 10, 12, 12, 11],
        ),
        trace(
            "pods metric, some without samples, some pending",
            pods,
            [Step(load={"in_flight": each}, pods=some(4, kind)) for each in (3.0, 1.5, 0.2) for kind in _SOME],
            Branch.PODS_METRIC,
            start=8,
        ),
        # Four of eight at 2.1 are 1.05 of all: inside the tolerance.
        trace(
            "pods metric, pending pods bring it back into the tolerance",
            pods,
            [Step(load={"in_flight": 2.1}, pods=some(4, PodKind.PENDING))],
            Branch.PODS_METRIC,
            Branch.PENDING,
            start=8,
            expect=[8],
        ),
        trace("external value by ready pods", value, ratios, Branch.EXTERNAL_VALUE, start=10, expect=[10, 16, 7]),
        trace(
            "external average against status",
            measuring(external("queue", averageValue="7500m")),
            [Step(load={"queue": each}) for each in (75, 82.5, 82.501, 30, 0, 7.501)],
            Branch.EXTERNAL_AVERAGE_VALUE,
            Branch.WANTS_BELOW_MINIMUM,
            start=10,
            expect=[10, 10, 12, 4, 3, 3],
            reasons=["TooFewReplicas"],
        ),
        trace(
            "external metric of several series",
            measuring(external("queue", averageValue="100"), external("share", value="2")),
            [
                Step(load={"queue": (300.0, 400.5, 0.0), "share": (1.0, 0.5)}),
                Step(load={"queue": (1.0,), "share": (3.0, 3.0)}),
            ],
            Branch.EXTERNAL_SUM,
            start=4,
            expect=[8, 20],
        ),
        trace(
            "resource, average value",
            measuring(resource("cpu", averageValue="350m")),
            [Step(load={"cpu": percent}) for percent in (77, 77.2, 90, 30)],
            Branch.RESOURCE_AVERAGE_VALUE,
            start=5,
        ),
        trace(
            "one container of three",
            two,
            [Step(load={f"{SIDECAR}/cpu": percent}) for percent in (70, 77, 78, 140, 35)],
            Branch.CONTAINER_RESOURCE,
            start=4,
            expect=[4, 4, 5, 10, 5],
        ),
        trace(
            "one container, average value, one sample missing",
            main,
            [Step(load={"payment-service/memory": percent}) for percent in (50, 55, 56, 90)]
            + [
                Step(load={"payment-service/memory": percent}, pods=some(2, PodKind.PARTLY_MISSING))
                for percent in (90, 20)
            ],
            Branch.CONTAINER_RESOURCE_VALUE,
            Branch.MISSING_SOME_UP,
            start=4,
        ),
        trace(
            "all containers count, the lasting init container too",
            whole,
            [Step(load={"cpu": cpu, "memory": memory}) for cpu, memory in ((70, 80), (90, 20), (10, 120), (40, 60))],
            Branch.CONTAINER_RESOURCE,
            start=4,
        ),
        trace(
            "object value by ready pods",
            measuring(of_object("requests", value="1000")),
            [Step(load={"requests": each}, pods=some(1, PodKind.PENDING)) for each in (1100, 1101, 500, 3000)],
            Branch.OBJECT_VALUE,
            start=5,
        ),
        trace(
            "object average",
            measuring(of_object("requests", averageValue="100")),
            [Step(load={"requests": each}) for each in (550, 551, 300, 4000)],
            Branch.OBJECT_AVERAGE_VALUE,
            Branch.WANTS_ABOVE_MAXIMUM,
            start=5,
            expect=[5, 6, 3, 20],
            reasons=["TooManyReplicas"],
        ),
    ]


_SOME = (PodKind.MISSING, PodKind.PENDING, PodKind.FAILED, PodKind.OLD_UNREADY_NEVER_READY)


def _several() -> list[Trace]:
    both = free("dev/payment-service", "cpu", _LAG)
    all_of_it = free("dev/payment-service")
    prod = free("prod/payment-service")
    return [
        trace(
            "the highest of several metrics",
            all_of_it,
            [
                Step(load={"cpu": 140, _LAG: 3000}),
                Step(load={"memory": 20, _RATE: 9500}),
                Step(load={"http_latency_ratio": 1.5}),
            ],
            Branch.SEVERAL_METRICS,
            start=4,
            expect=[8, 10, 15],
        ),
        trace(
            "all metrics of prod's payment service",
            prod,
            [
                Step(load={"cpu": percent, "memory": memory})
                for percent, memory in ((90, 50), (20, 95), (30, 30), (69, 79))
            ],
            Branch.SEVERAL_METRICS,
            start=6,
        ),
        trace(
            "one metric fails on the way up",
            both,
            [
                Step(load={"cpu": 140, _LAG: None}),
                Step(load={"cpu": None, _LAG: 12000}),
                Step(load={"cpu": 70, _LAG: None}),
            ],
            Branch.ONE_FAILS_UP,
            Branch.EXTERNAL_FAILS,
            Branch.RESOURCE_API_FAILS,
            start=4,
            expect=[8, 12, 12],
        ),
        trace(
            "one metric fails on the way down",
            both,
            [
                Step(load={"cpu": 20, _LAG: None}),
                Step(load={"cpu": None, _LAG: 3000}),
                Step(load={"cpu": 20, _LAG: 4000}),
            ],
            Branch.ONE_FAILS_DOWN,
            start=12,
            expect=[12, 12, 4],
            reasons=["FailedGetExternalMetric", "FailedGetResourceMetric"],
        ),
        trace(
            "all metrics fail",
            both,
            [Step(load={"cpu": None, _LAG: None}, times=2), Step(load={"cpu": 70, _LAG: 9000})],
            Branch.ALL_FAIL,
            start=6,
            expect=[6, 6, 9],
            reasons=["FailedGetResourceMetric"],
        ),
        trace(
            "an external metric without data",
            free("dev/payment-service", _LAG),
            [Step(load={_LAG: ()}, times=2), Step(load={_LAG: 8000}), Step(load={_LAG: ()})],
            Branch.EXTERNAL_MISSING,
            start=5,
            expect=[5, 5, 8, 8],
            reasons=["FailedGetExternalMetric"],
        ),
        trace(
            "pods and object metrics fail beside a resource",
            measuring(
                of_pods("in_flight", "1"), of_object("requests", value="10"), resource("cpu", averageUtilization=70)
            ),
            [
                Step(load={"in_flight": None, "requests": None, "cpu": 140}),
                Step(load={"in_flight": None, "requests": None, "cpu": 10}),
                Step(load={"in_flight": 0.1, "requests": None, "cpu": 10}),
                Step(load={"in_flight": 0.5, "requests": 5, "cpu": 10}),
            ],
            Branch.ONE_FAILS_UP,
            Branch.ONE_FAILS_DOWN,
            start=5,
            expect=[10, 10, 10, 5],
            reasons=["FailedGetPodsMetric", "FailedGetObjectMetric"],
        ),
    ]
