"""The table of `make failover`: medians beside each other, and what was asked for is tried in rounds."""

import json
import time
from pathlib import Path

from bench.failover import DEFAULTS, Plan, summary


def record(name: str, timers: str, seconds: float) -> dict[str, object]:
    counts = {"acknowledged": 100, "lost": 0, "reads": 50, "wrong_reads": 0, "failed": 2}
    return {"name": name, "timers": timers, "seconds_without_writes": seconds, **counts}


def test_medians_worst_cases_and_their_ratio() -> None:
    ours = [record("primary killed", "20/5/5", seconds) for seconds in (18.0, 20.0, 22.0)]
    theirs = [record("primary killed", DEFAULTS, seconds) for seconds in (25.0, 30.0, 41.0)]
    row = summary([*ours, *theirs, record("switchover", DEFAULTS, 4.0)]).splitlines()[2:]
    assert row == [
        "| switchover | — | 4.0 s (4.0 s), 1 | — | 0 of 100 | 0 of 50 | 2 |",
        "| primary killed | 20.0 s (22.0 s), 3 | 30.0 s (41.0 s), 3 | 1.5 | 0 of 600 | 0 of 300 | 2 |",
    ]


def test_what_is_left_goes_in_rounds_and_skips_what_has_been_done(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    wanted = {"20/5/5": ["switchover", "primary killed"]}
    plan = Plan(stack="dev", trials=2, log=log, end=time.monotonic(), wanted=wanted)
    assert plan._missing("20/5/5") == ["switchover", "primary killed"] * 2
    log.write_text(json.dumps(record("switchover", "20/5/5", 4.0)) + "\n", encoding="utf-8")
    assert plan._missing("20/5/5") == ["primary killed", "switchover", "primary killed"]
    assert plan.left() == 3
