"""The burn alerts in the real promtool: each pair of windows fires at its pace, and ends soon after the errors end."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.observability.objectives import AVAILABILITY, BURNS, LATENCY
from settings.observability import Objective
from tests.real.observability.prometheus_binaries import binaries, run
from tests.real.observability.test_rules import groups_for
from tests.unit.stacks import STACKS, settings_of

# 1000 requests a step; the objective of payment-service is 99.9 %, its budget one request of a thousand.
STEP_MINUTES = 5
_TOTAL = 'http_requests_total{service="payment-service",code="%s"}'


def failing(*parts: tuple[int, int]) -> dict[str, str]:
    """Counters of a service that fails ``per_thousand`` for so many steps, part after part."""
    bad = [0]
    for per_thousand, steps in parts:
        bad += [bad[-1] + per_thousand * (index + 1) for index in range(steps)]
    good = [1000 * index - count for index, count in enumerate(bad)]
    return {_TOTAL % "500": " ".join(map(str, bad)), _TOTAL % "200": " ".join(map(str, good))}


def hours(count: int) -> int:
    return count * 60 // STEP_MINUTES


CASES: list[tuple[str, dict[str, str], float, bool]] = [
    # long window, load, hour, fires
    ("1h", failing((20, hours(2))), 2, True),
    ("1h", failing((10, hours(2))), 2, False),
    # The errors ended half an hour ago: the hour is still bad, its last minutes are not.
    ("1h", failing((40, hours(2)), (0, hours(1) // 2)), 2.5, False),
    ("6h", failing((8, hours(7))), 7, True),
    ("6h", failing((4, hours(7))), 7, False),
    ("1d", failing((4, hours(26))), 26, True),
    ("1d", failing((2, hours(26))), 26, False),
    ("3d", failing((2, hours(76))), 76, True),
    ("3d", failing((0, hours(70)), (2, hours(6))), 76, False),
]


Load = dict[str, str]


def objective(stack: str) -> Objective:
    observability = settings_of(stack).observability
    assert observability is not None
    return observability.objective_of("payment-service")


def slow(stack: str, *parts: tuple[float, int]) -> Load:
    """The histogram of a service whose share of slow requests is so high for so many steps, part after part."""
    bound = objective(stack).latency_milliseconds / 1000
    fast, every = [0.0], [0]
    for share, steps in parts:
        for _ in range(steps):
            fast.append(fast[-1] + 1000 * (1 - share))
            every.append(every[-1] + 1000)
    name, chosen = "http_request_duration_seconds", 'service="payment-service"'
    return {
        f'{name}_bucket{{{chosen},le="{bound:g}"}}': " ".join(f"{value:g}" for value in fast),
        f"{name}_count{{{chosen}}}": " ".join(map(str, every)),
    }


def latency_cases(stack: str) -> list[tuple[str, Load, float, bool]]:
    """Long window, load, hour, whether it fires: a fifth above and below each pace of the stack's own objective."""
    budget = 1 - objective(stack).latency_percent / 100
    cases: list[tuple[str, Load, float, bool]] = []
    for burn, length in zip(BURNS, (2, 7, 26, 76), strict=True):
        even = burn.factor * budget
        cases += [
            (burn.long, slow(stack, (1.2 * even, hours(length))), length, True),
            (burn.long, slow(stack, (0.8 * even, hours(length))), length, False),
        ]
    # The slowness ended half an hour ago: the hour is still bad, its last minutes are not.
    ended = slow(stack, (2 * BURNS[0].factor * budget, hours(2)), (0, hours(1) // 2))
    return [*cases, (BURNS[0].long, ended, 2.5, False)]


def unit_test(slo: str, window: str, series: Load, hour: float, *, fires: bool) -> dict[str, Any]:
    chosen = f'alertname="ErrorBudgetBurn",slo="{slo}",long_window="{window}",alertstate="firing"'
    return {
        "interval": f"{STEP_MINUTES}m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count(ALERTS{{{chosen}}}) or vector(0)",
                "eval_time": f"{int(hour * 60)}m",
                "exp_samples": [{"labels": "{}", "value": int(fires)}],
            }
        ],
    }


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("slo", [AVAILABILITY, LATENCY])
@pytest.mark.parametrize("stack", STACKS)
def test_the_budget_burns_at_four_paces(stack: str, slo: str, tmp_path: Path) -> None:
    # Every 5 minutes instead of every 30 seconds: three days of the latter take promtool minutes. A rate over 5 minutes
    # needs two samples, so the shortest window is read over 10.
    groups = groups_for(stack, "ErrorBudgetBurn", "payment-service")
    for group in groups:
        group["interval"] = f"{STEP_MINUTES}m"
        group["rules"] = [rule for rule in group["rules"] if rule["labels"].get("slo") == slo]
        for rule in group["rules"]:
            rule["expr"] = rule["expr"].replace("[5m]", "[10m]")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    cases = CASES if slo == AVAILABILITY else latency_cases(stack)
    tests = [unit_test(slo, window, series, hour, fires=fires) for window, series, hour, fires in cases]
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{STEP_MINUTES}m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    answer = run(binaries().promtool, "test", "rules", "tests.yaml", folder=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("stack", STACKS)
def test_each_pace_of_each_objective_has_a_case_that_fires_and_one_that_does_not(stack: str) -> None:
    rules = [rule for group in groups_for(stack, "ErrorBudgetBurn", "payment-service") for rule in group["rules"]]
    paces = {(rule["labels"]["slo"], rule["labels"]["long_window"]) for rule in rules if "alert" in rule}
    tried = {(AVAILABILITY, window, fires) for window, _, _, fires in CASES}
    tried |= {(LATENCY, window, fires) for window, _, _, fires in latency_cases(stack)}
    assert tried == {(*pace, fires) for pace in paces for fires in (True, False)}
