"""``python -m sandbox`` without a control plane: exit codes, metrics, and messages instead of tracebacks."""

from pathlib import Path

import pytest

from sandbox.__main__ import main
from sandbox.files import read_json


def test_status_of_nothing_says_so_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--state", str(tmp_path), "status"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split() for line in lines[:-1]] == [
        [name, "stopped"]
        for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "metrics-api")
    ]
    assert lines[-1].endswith("no")


def test_down_twice_is_fine(tmp_path: Path) -> None:
    assert main(["--state", str(tmp_path), "down"]) == 0
    assert main(["--state", str(tmp_path), "down", "--purge"]) == 0


def test_metrics_are_set_by_name_value_and_label(tmp_path: Path) -> None:
    state = ["--state", str(tmp_path)]
    assert main([*state, "metrics", "external", "kafka_consumer_lag", "12500", "--label", "group=payment"]) == 0
    assert main([*state, "metrics", "external", "kafka_consumer_lag", "none"]) == 0
    assert (
        main([*state, "metrics", "resource", "payment-service", "--cpu-percent", "90", "--memory-percent", "10"]) == 0
    )
    written = read_json(tmp_path / "metrics.json") or {}
    assert written["external"]["kafka_consumer_lag"] == [
        {"value": 12500, "labels": {"group": "payment"}},
        {"value": None, "labels": {}},
    ]
    assert written["resource"]["payment-service"]["cpu_percent_of_request"] == 90


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["external", "lag", "many"], "'many' is neither a whole number nor `none`"),
        (["external", "lag", "1", "--label", "group"], "'group' is not KEY=VALUE"),
        (["external", "lag", "1", "--label", "=x"], "'=x' is not KEY=VALUE"),
    ],
)
def test_bad_values_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--state", str(tmp_path), "metrics", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_no_go_is_one_message_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["--state", str(tmp_path / "state"), "up"]) == 1
    said = capsys.readouterr().err
    assert said.count("no `go` is on PATH") == 1
    assert "Traceback" not in said
