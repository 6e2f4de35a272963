"""The burn alerts in the real promtool: each pair of windows fires at its pace, and ends soon after the errors end."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real.observability.prometheus_binaries import binaries, run
from tests.real.observability.test_rules import groups_for

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


CASES = [
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


def unit_test(window: str, series: dict[str, str], hour: float, *, fires: bool) -> dict[str, Any]:
    chosen = f'alertname="ErrorBudgetBurn",slo="availability",long_window="{window}",alertstate="firing"'
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
def test_the_budget_burns_at_four_paces(tmp_path: Path) -> None:
    # Every 5 minutes instead of every 30 seconds: three days of the latter take promtool minutes. A rate over 5 minutes
    # needs two samples, so the shortest window is read over 10.
    groups = groups_for("prod", "ErrorBudgetBurn", "payment-service")
    for group in groups:
        group["interval"] = f"{STEP_MINUTES}m"
        for rule in group["rules"]:
            rule["expr"] = rule["expr"].replace("[5m]", "[10m]")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    tests = [unit_test(window, series, hour, fires=fires) for window, series, hour, fires in CASES]
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{STEP_MINUTES}m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    answer = run(binaries().promtool, "test", "rules", "tests.yaml", folder=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
