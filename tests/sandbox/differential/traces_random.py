"""Random traces over the autoscalers as rendered: loads around the targets, and now and then everything else."""

import random
from collections.abc import Sequence
from dataclasses import replace

from sandbox.metric_values import parse_quantity
from tests.sandbox.differential.building import GRID_SECONDS, rendered
from tests.sandbox.differential.inputs import Inputs, PodInput
from tests.sandbox.differential.pod_kinds import PodKind, changed
from tests.sandbox.differential.rendered import Manifest, Scaler, metric_key, scalers, target_of
from tests.sandbox.differential.scenario import Amount, Branch, Situation, Step, Trace, inputs_of

SEEDS = (1, 2)
_SYNCS = 40
# One that changes by itself belongs into a trace that watches for the moment.
_KINDS = [kind for kind in PodKind if kind is not PodKind.GROWING_OLD]
_PHASE_SYNCS = 6
"""A load lasts so long, on average, before another one comes."""


def traces(seeds: Sequence[int] = SEEDS) -> list[Trace]:
    """One for each autoscaler and seed."""
    return [_trace(name, seed) for name in scalers() for seed in seeds]


def _trace(name: str, seed: int) -> Trace:
    scaler = rendered(name)
    chance = random.Random(f"{name}/{seed}")  # noqa: S311 # a seed, not a secret
    steps = [step for _ in range(_SYNCS) for step in _phase(scaler, chance)][:_SYNCS]

    def plan(situation: Situation) -> Inputs:
        return inputs_of(scaler, steps[situation.index], situation)

    return Trace(
        name=f"random {seed} over {name}",
        scaler=scaler,
        branches=frozenset({Branch.RANDOM}),
        plan=plan,
        syncs=_SYNCS,
        start_replicas=chance.randint(scaler.minimum, scaler.maximum),
        grid_seconds=GRID_SECONDS,
        expected={},
        path=(),
        reasons=frozenset(),
    )


def _phase(scaler: Scaler, chance: random.Random) -> list[Step]:
    """Some syncs in a row with nearly the same load."""
    level = chance.lognormvariate(0.0, 0.5)
    places = {chance.randrange(scaler.maximum): chance.choice(_KINDS) for _ in range(chance.choice((0, 0, 1, 4)))}

    def pods(found: list[PodInput], situation: Situation) -> list[PodInput]:
        busy = [_busier(pod, random.Random(f"{pod.name}/{situation.index}")) for pod in found]  # noqa: S311 # a seed
        return [changed(pod, places.get(place, PodKind.OLD), situation.epoch) for place, pod in enumerate(busy)]

    return [
        Step(
            load={metric_key(each): _amount(scaler, each, level, chance) for each in scaler.metrics},
            pods=pods,
            surge=chance.choice((0, 0, 0, 0, 0, 1, 3, -1, -4)),
            set_spec=_someone(scaler, chance),
        )
        for _ in range(chance.randint(1, 2 * _PHASE_SYNCS))
    ]


def _busier(pod: PodInput, chance: random.Random) -> PodInput:
    """No two pods use the same, so that sums do not divide evenly."""
    factor = chance.uniform(0.9, 1.1)
    usage = {
        container: {
            "cpu": round(amounts["cpu"] * factor),
            "memory": round(amounts["memory"] * factor / 1000) * 1000,
        }
        for container, amounts in (pod.usage or {}).items()
    }
    return replace(pod, usage=usage)


def _amount(scaler: Scaler, metric: Manifest, level: float, chance: random.Random) -> Amount:
    """Around the target of the whole group, often just inside or outside the tolerance, rarely broken."""
    dice = chance.random()
    if dice < 0.02:
        return None
    if dice < 0.04 and metric["type"] == "External":
        return ()
    ratio = chance.choice((1.1, 0.9, 1.0)) if dice < 0.15 else level * chance.lognormvariate(0.0, 0.1)
    target = target_of(metric)
    if "averageUtilization" in target:
        return round(float(target["averageUtilization"]) * ratio, 1)
    if "averageValue" in target:
        middle = (scaler.minimum + scaler.maximum) // 2
        return round(float(parse_quantity(target["averageValue"])) * middle * ratio, 3)
    return round(float(parse_quantity(target["value"])) * ratio, 3)


def _someone(scaler: Scaler, chance: random.Random) -> int | None:
    """Rarely a person sets the scale, also to where it may not be."""
    if chance.random() > 0.03:
        return None
    return chance.choice((0, 1, scaler.minimum, scaler.maximum, scaler.maximum + 3, chance.randint(1, scaler.maximum)))
