"""Traces of a status that differs from what was asked for: what a rolling update does to the scale."""

from tests.sandbox.differential.building import FREE, external, free, measuring, of_object, trace
from tests.sandbox.differential.scenario import Branch, Step, Trace

_LAG = "kafka_consumer_lag"


def traces() -> list[Trace]:
    """All of them."""
    lag = free("dev/payment-service", _LAG)
    cpu = free("dev/payment-service", "cpu")
    average = measuring(of_object("requests", averageValue="100"))
    others = measuring(external("ratio", value="1"), of_object("requests", value="100"))
    wide = lag.paced("scaleDown", tolerance="500m")
    paced = lag.changed(behavior={"scaleUp": FREE, "scaleDown": {**FREE, "stabilizationWindowSeconds": 8}})
    return [
        # The surge of a rolling update goes into the scale, and the next one on top of it.
        trace(
            "a surge inside the tolerance",
            lag,
            [Step(load={_LAG: 13000}, surge=3), Step(load={_LAG: 13000}, surge=0), Step(load={_LAG: 16000}, surge=3)],
            Branch.SURGE_INSIDE_TOLERANCE,
            start=10,
            expect=[13, 13, 16],
        ),
        trace(
            "a surge inside a wide tolerance",
            wide,
            [Step(load={_LAG: 10000}, surge=3), Step(load={_LAG: 10000}, surge=4), Step(load={_LAG: 10000}, surge=4)],
            Branch.SURGE_INSIDE_TOLERANCE,
            Branch.OWN_TOLERANCE_DOWN_HALF,
            start=10,
            expect=[13, 17, 10],
        ),
        trace(
            "a surge with an object average",
            average,
            [
                Step(load={"requests": 1200}, surge=2),
                Step(load={"requests": 900}, surge=-3),
                Step(load={"requests": 0}, surge=-99),
            ],
            Branch.SURGE_INSIDE_TOLERANCE,
            Branch.OBJECT_AVERAGE_VALUE,
            start=10,
            expect={0: 12, 1: 9},
        ),
        trace(
            "a surge with the other targets",
            others,
            [Step(load={"ratio": 1.0, "requests": 105}, surge=5), Step(load={"ratio": 1.05, "requests": 10}, surge=-2)],
            Branch.SURGE_VALUE_TARGET,
            start=8,
            expect=[8, 8],
        ),
        trace(
            "a surge with utilisation",
            cpu,
            [Step(load={"cpu": 70.0}, surge=3), Step(load={"cpu": 75.0}, surge=-2), Step(load={"cpu": 100.0}, surge=4)],
            Branch.SURGE_VALUE_TARGET,
            Branch.STATUS_BELOW_SPEC,
            start=7,
            expect=[7, 7, 10],
        ),
        trace(
            "status below spec",
            paced,
            [
                Step(load={_LAG: 6000}, surge=-4),
                Step(load={_LAG: 6500}, surge=-4),
                Step(load={_LAG: 12000}, surge=-99),
                Step(load={_LAG: 0}, surge=-99),
                *[Step(load={_LAG: 5000}, surge=-1)] * 10,
            ],
            Branch.STATUS_BELOW_SPEC,
            start=10,
        ),
    ]
