"""Traces of time: stabilisation windows, policies and their periods, bounds, and the true clock."""

from tests.sandbox.differential.building import DEFAULTS_GRID_SECONDS, FREE, free, policies, rendered, trace
from tests.sandbox.differential.rendered import scalers
from tests.sandbox.differential.scenario import Branch, Step, Trace

_LAG = "kafka_consumer_lag"
_TRUE_GRID_SECONDS = 7
"""Multiples keep at least 1 s clear of 15, 30, 60 and 300 s."""


def traces() -> list[Trace]:
    """All of them."""
    return [*_windows(), *_up(), *_down(), *_periods(), *_bounds(), *true_clock()]


def _lag(*loads: tuple[float, int]) -> list[Step]:
    return [Step(load={_LAG: load}, times=times) for load, times in loads]


def _windows() -> list[Trace]:
    base = free("dev/payment-service", _LAG)
    up = base.paced("scaleUp", stabilizationWindowSeconds=4)
    both = up.paced("scaleDown", stabilizationWindowSeconds=8)
    calm = ((4000, 4), (8000, 2), (4000, 4), (8000, 6))
    restless = ((8000, 2), (3000, 2), (12000, 4), (5000, 3), (9000, 2), (3000, 10), (20000, 6))
    return [
        trace("a spike shorter than the window up", up, _lag(*calm), Branch.STABILISE_UP, start=4, path=[8]),
        trace(
            "down by the highest of the window",
            rendered("dev/payment-service"),
            [Step(load={"cpu": 140}, times=3), Step(load={"cpu": 10}, times=26)],
            Branch.STABILISE_DOWN,
            Branch.DOWN_MIN,
            start=3,
            path=[6, 7],
            reasons=["ScaleDownStabilized", "ScaleDownLimit", "ScaleUpLimit"],
        ),
        trace(
            "both windows",
            both,
            _lag(*restless),
            Branch.STABILISE_BOTH,
            Branch.STABILISE_UP,
            Branch.STABILISE_DOWN,
            start=4,
            reasons=["ScaleUpStabilized", "ScaleDownStabilized"],
        ),
        trace(
            "behaviour left out",
            base.changed(behavior={"scaleUp": {"selectPolicy": "Max"}}),
            _lag((40000, 18), (5000, 4)),
            Branch.DEFAULT_BEHAVIOUR,
            start=3,
            path=[7, 14],
            grid_seconds=DEFAULTS_GRID_SECONDS,
            reasons=["ScaleUpLimit", "ScaleDownStabilized"],
        ),
        trace(
            "no behaviour",
            base.without_behaviour(),
            _lag((40000, 4), (5000, 20), (30000, 2), (0, 2)),
            Branch.NO_BEHAVIOUR,
            Branch.STABILISE_DOWN,
            start=3,
            path=[6, 12, 20, 5],
            reasons=["ScaleUpLimit", "ScaleDownStabilized", "TooManyReplicas"],
        ),
        trace(
            "one direction's behaviour left out",
            base.changed(behavior={"scaleDown": policies(("Pods", 2, 4))}),
            _lag((9000, 5), (3000, 12)),
            Branch.DEFAULT_BEHAVIOUR,
            start=3,
            path=[7, 5, 3],
            grid_seconds=DEFAULTS_GRID_SECONDS,
        ),
    ]


def _up() -> list[Trace]:
    base = free("dev/payment-service", _LAG)
    pods, percent = ("Pods", 2, 4), ("Percent", 50, 2)
    climb = _lag((20000, 14))
    cases = [
        ("up by pods", policies(pods), [Branch.UP_PODS, Branch.PERIOD_REMEMBERED], [5, 7, 9]),
        # Percentages are rounded up: 3 → 4.5 → 5 → 7.5 → 8 → 12 → 18.
        ("up by percent", policies(percent), [Branch.UP_PERCENT], [5, 8, 12, 18, 20]),
        ("up by the larger of two", policies(("Pods", 4, 2), ("Percent", 100, 2)), [Branch.UP_MAX], [7, 14, 20]),
        ("up by the smaller of two", policies(pods, ("Percent", 100, 2), select="Min"), [Branch.UP_MIN], [5, 7, 9]),
    ]
    found = [
        trace(
            name,
            base.paced("scaleUp", **rules),
            climb,
            *branches,
            Branch.WANTS_ABOVE_MAXIMUM,
            start=3,
            path=path,
            reasons=["ScaleUpLimit"],
        )
        for name, rules, branches, path in cases
    ]
    disabled = base.paced("scaleUp", **policies(pods, select="Disabled"))
    # Disabled still allows what the bounds force: the scale below the minimum is raised.
    steps = [*_lag((20000, 3), (5000, 2)), Step(load={_LAG: 20000}, set_spec=1), *_lag((20000, 2))]
    return [
        *found,
        trace("up disabled", disabled, steps, Branch.UP_DISABLED, start=6, path=[5, 3], reasons=["ScaleUpLimit"]),
    ]


def _down() -> list[Trace]:
    base = free("dev/payment-service", _LAG)
    pods, percent = ("Pods", 2, 4), ("Percent", 10, 2)
    fall = _lag((3000, 14))
    cases = [
        ("down by pods", policies(pods), [Branch.DOWN_PODS, Branch.PERIOD_REMEMBERED], [18, 16, 14]),
        # What stays is cut to whole pods: 20 → 18 → 16.2 → 16 → 14.4 → 14 → 12.6 → 12.
        ("down by percent", policies(percent), [Branch.DOWN_PERCENT], [18, 16, 14, 12]),
        ("down by the larger of two", policies(("Pods", 1, 4), ("Percent", 50, 4)), [Branch.DOWN_MAX], [10, 5, 3]),
        (
            "down by the smaller of two",
            policies(("Pods", 1, 2), ("Percent", 50, 4), select="Min"),
            [Branch.DOWN_MIN],
            [19, 18],
        ),
    ]
    found = [
        trace(name, base.paced("scaleDown", **rules), fall, *branches, start=20, path=path, reasons=["ScaleDownLimit"])
        for name, rules, branches, path in cases
    ]
    disabled = base.paced("scaleDown", **policies(pods, select="Disabled"))
    steps = [*_lag((3000, 3), (9000, 2)), Step(load={_LAG: 3000}, set_spec=25), *_lag((3000, 3))]
    return [
        *found,
        trace(
            "down disabled", disabled, steps, Branch.DOWN_DISABLED, start=8, path=[9, 20], reasons=["ScaleDownLimit"]
        ),
    ]


def _periods() -> list[Trace]:
    """What was added within a period makes room to remove, and the other way round."""
    base = free("dev/payment-service", _LAG)
    paced = base.paced("scaleUp", **policies(("Pods", 4, 8))).paced("scaleDown", **policies(("Pods", 2, 8)))
    zigzag = ((20000, 2), (3000, 3), (20000, 4), (3000, 9), (20000, 3), (3000, 2), (15000, 9))
    mixed = base.paced("scaleUp", **policies(("Percent", 40, 8), ("Pods", 1, 2))).paced(
        "scaleDown", **policies(("Percent", 30, 4), ("Pods", 3, 8), select="Min")
    )
    return [
        trace(
            "up and down within one period",
            paced,
            _lag(*zigzag),
            Branch.PERIOD_OPPOSITE,
            Branch.PERIOD_REMEMBERED,
            start=10,
            reasons=["ScaleUpLimit", "ScaleDownLimit"],
        ),
        # The four pods of the first change are forgotten when the second replaces it: 11 - 4 - 2 stay, not 11 - 8 - 2.
        trace(
            "a change outdated for its own direction only",
            base.paced("scaleUp", **policies(("Pods", 4, 2))).paced("scaleDown", **policies(("Pods", 2, 8))),
            _lag((20000, 1), (7000, 1), (20000, 1), (3000, 4)),
            Branch.PERIOD_REUSED,
            Branch.PERIOD_OPPOSITE,
            start=3,
            path=[7, 11, 5],
        ),
        # Of two outdated changes the later one gives way: of 1, 3 and 2 pods the 3 are forgotten.
        trace(
            "the later of two outdated changes gives way",
            base.paced("scaleUp", **policies(("Pods", 4, 4))).paced("scaleDown", **policies(("Pods", 1, 20))),
            _lag((4000, 1), (7000, 4), (9000, 1), (3000, 3)),
            Branch.PERIOD_REUSED,
            start=3,
            path=[4, 7, 9, 5],
        ),
        trace(
            "periods of different length",
            mixed,
            _lag(*zigzag, *zigzag),
            Branch.PERIOD_OPPOSITE,
            Branch.UP_PERCENT,
            Branch.DOWN_PERCENT,
            start=10,
        ),
    ]


def _bounds() -> list[Trace]:
    base = free("dev/payment-service", _LAG)
    paced = base.paced("scaleDown", **policies(("Pods", 2, 8)))
    wallet = rendered("prod/wallet-service")
    return [
        trace(
            "a person scales above the maximum",
            paced,
            [*_lag((10000, 2)), Step(load={_LAG: 10000}, set_spec=25), *_lag((15000, 8))],
            Branch.ABOVE_MAXIMUM,
            start=10,
            expect={2: 20},
            path=[20],
        ),
        trace(
            "a person scales below the minimum",
            base.paced("scaleUp", **policies(("Pods", 2, 8))),
            [Step(load={_LAG: 5000}), Step(load={_LAG: 9000}, set_spec=1), *_lag((9000, 9))],
            Branch.BELOW_MINIMUM,
            start=5,
            expect={1: 3},
        ),
        trace(
            "a person scales within the bounds",
            wallet,
            [Step(load={"cpu": 55}, times=3), Step(load={"cpu": 55}, set_spec=14), Step(load={"cpu": 30}, times=12)],
            Branch.STABILISE_DOWN,
            start=7,
        ),
        trace(
            "scaled to zero and back",
            base,
            [
                *_lag((5000, 2)),
                Step(load={_LAG: 9000}, set_spec=0),
                *_lag((9000, 2)),
                Step(load={_LAG: 9000}, set_spec=4),
                *_lag((6000, 2)),
            ],
            Branch.ZERO,
            Branch.BACK_FROM_ZERO,
            start=5,
            expect=[5, 5, 0, 0, 0, 9, 6, 6],
            reasons=["ScalingDisabled"],
        ),
        trace(
            "wishes beyond both bounds",
            base,
            _lag((100000, 2), (0, 2), (4e12, 1), (20000, 1), (1, 2)),
            Branch.WANTS_ABOVE_MAXIMUM,
            Branch.WANTS_BELOW_MINIMUM,
            start=10,
            expect=[20, 20, 3, 3, 20, 20, 3, 3],
            reasons=["TooManyReplicas", "TooFewReplicas"],
        ),
        trace(
            "free to move every sync",
            base.changed(behavior={"scaleUp": FREE, "scaleDown": FREE}),
            _lag(*((1000 * wish, 1) for wish in (4, 9, 5, 17, 3, 20, 6))),
            Branch.EXTERNAL_AVERAGE_VALUE,
            start=3,
            expect=[4, 9, 5, 17, 3, 20, 6],
        ),
    ]


def true_clock() -> list[Trace]:
    """Windows and periods as rendered: up at once, down after five minutes, then one pod a minute."""
    prod = scalers()["prod/payment-service"]
    load = prod.external()
    api = [Step(load={load: 7000}, times=2), Step(load={load: 3000}, times=52)]
    consumers = [*_lag((9000, 8), (1000, 48))]
    return [
        trace(
            "true clock of prod's payment service",
            prod,
            api,
            Branch.TRUE_CLOCK,
            start=3,
            path=[7, 6, 5],
            reasons=["ScaleDownStabilized"],
            grid_seconds=_TRUE_GRID_SECONDS,
        ),
        trace(
            "true clock of dev's payment consumers",
            scalers()["dev/payment-processors"],
            consumers,
            Branch.TRUE_CLOCK,
            start=3,
            path=[4, 5, 6, 5],
            reasons=["ScaleUpLimit", "ScaleDownStabilized"],
            grid_seconds=_TRUE_GRID_SECONDS,
        ),
    ]
