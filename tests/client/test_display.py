"""T25: a balance from the cache cannot take part in a decision about money, neither typed nor run."""

import copy
import operator
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from payments_client.cache import DisplayOnly, Loaded, MoneyDecisionError, Options, PaymentsCache
from payments_client.contract import PLAN_CLASSES, WALLET_BALANCE, CacheClass, CacheContract, RedisEndpoint

ROOT = Path(__file__).resolve().parents[2]
BALANCE = DisplayOnly(4321, {"w1": 7})
NOWHERE = CacheContract(l3=RedisEndpoint(host="127.0.0.1", port=1, tls=False))


@pytest.mark.parametrize(
    "use",
    [
        bool, int, float, complex, len, list, hash, abs, round, operator.neg, operator.index, copy.copy, copy.deepcopy,
        pickle.dumps, "{}".format,
        lambda b: b >= 100, lambda b: b < 100, lambda b: b == 4321, lambda b: b != 4321,
        lambda b: b - 100, lambda b: 100 - b, lambda b: b + 1, lambda b: b * 2, lambda b: b / 2, lambda b: b // 2,
        lambda b: b % 2, lambda b: b**2, lambda b: b[0], lambda b: 1 in b, lambda b: {b: 1},
        lambda b: max(b, 5), lambda b: sum([b]), lambda b: sorted([b, b]), lambda b: "yes" if b else "no",
        lambda b: f"{b}", lambda b: b.render(lambda amount: amount), lambda b: b.render(lambda amount: amount > 100),
    ],
)  # fmt: skip
def test_t25_no_operation_gets_at_the_amount(use: Callable[[Any], object]) -> None:
    with pytest.raises(MoneyDecisionError):
        use(BALANCE)


def test_it_can_be_shown_and_does_not_end_in_a_log() -> None:
    assert BALANCE.render(lambda cents: f"{cents / 100:.2f} €") == "43.21 €"
    assert "4321" not in f"{BALANCE!r}" + str(BALANCE)
    assert BALANCE.seen == {"w1": 7}
    assert not hasattr(BALANCE, "value")


def load(item_id: str, _at_least: object) -> Loaded[int]:
    return Loaded(1, {item_id: 1})


def test_t25_a_balance_cannot_be_read_as_a_plain_value() -> None:
    with PaymentsCache(NOWHERE, options=Options()) as cache, pytest.raises(MoneyDecisionError, match="write side"):
        cache.reader(WALLET_BALANCE, load)


def test_t25_a_class_cannot_be_made_harmless_by_the_caller() -> None:
    plain = CacheClass(prefix="wallet:balance:", owner="me", l3_ttl_seconds=300)
    with PaymentsCache(NOWHERE) as cache, pytest.raises(MoneyDecisionError):
        cache.reader(plain, load)


def test_every_other_class_can() -> None:
    with PaymentsCache(NOWHERE) as cache:
        for key_class in PLAN_CLASSES:
            if key_class is not WALLET_BALANCE:
                assert cache.reader(key_class, load).get("x") == 1


WRONG = """
from payments_client.cache.display import DisplayOnly

def pay(balance: int) -> bool:
    return balance >= 100

def decide(balance: DisplayOnly[int]) -> None:
    pay(balance)
    balance - 100
    balance >= 100
    int(balance)
    float(balance)
    total: int = balance
    balance.value
    balance.render(lambda cents: cents)
"""


def test_t25_a_type_checker_refuses_each_use(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    # Only what the snippet needs: following the package's other modules into redis-py takes a minute.
    needed = [str(ROOT / "client" / "payments_client" / "cache" / name) for name in ("display.py", "errors.py")]
    checked = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path / "cache"),
            "--explicit-package-bases", "--follow-imports=skip", "--no-error-summary", "wrong.py", *needed,
        ],
        cwd=tmp_path, env={"MYPYPATH": str(ROOT / "client"), "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    refused = {int(line.split(":")[1]) for line in checked.stdout.splitlines() if line.startswith("wrong.py:")}
    wanted = {n for n, line in enumerate(WRONG.splitlines(), 1) if line.startswith("    ") and n > 7}
    assert refused == wanted, checked.stdout
