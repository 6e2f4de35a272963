"""The twin against the real controller: every trace, every branch, every autoscaler of both stacks."""

import pytest

from tests.sandbox.differential.compare import follows
from tests.sandbox.differential.conftest import Proof
from tests.sandbox.differential.inputs import quantity
from tests.sandbox.differential.proof import Outcome, all_traces
from tests.sandbox.differential.rendered import scalers
from tests.sandbox.differential.scenario import Branch

NAMES = [trace.name for trace in all_traces()]
LEAST_TRACES = 40


@pytest.fixture
def outcome(proof: Proof, request: pytest.FixtureRequest) -> Outcome:
    found = proof.outcomes[request.param]
    assert found.problem is None, found.problem
    return found


@pytest.mark.parametrize("outcome", NAMES, indirect=True)
def test_the_twin_decides_as_the_real_controller_at_every_sync(outcome: Outcome) -> None:
    assert len(outcome.compared) == outcome.trace.syncs
    assert outcome.difference is None, outcome.difference


@pytest.mark.parametrize("outcome", NAMES, indirect=True)
def test_the_real_controller_went_where_the_trace_leads(outcome: Outcome) -> None:
    """Otherwise a trace could agree without ever reaching its branch."""
    trace, replicas = outcome.trace, [sync.real for sync in outcome.compared]
    assert {index: replicas[index] for index in trace.expected} == dict(trace.expected), replicas
    assert follows(trace, replicas), f"{replicas} do not begin with {trace.path}"
    reasons = {reason for record in outcome.records for _, reason in record.conditions.values()}
    assert trace.reasons <= reasons


@pytest.mark.parametrize("outcome", NAMES, indirect=True)
def test_the_twin_got_what_the_metrics_apis_had_served(outcome: Outcome) -> None:
    for record in outcome.records:
        asked = {served.metric for served in record.served}
        named = {*record.inputs.external, *record.inputs.objects}
        assert not asked or named <= asked, f"sync {record.index}: asked for {asked} of {named}"
        for served in record.served:
            values = record.inputs.external.get(served.metric)
            if values is not None:
                assert sorted(served.values) == sorted(quantity(value) for value in values)
            elif served.metric in record.inputs.external:
                assert served.status >= 500


def test_there_are_enough_traces_and_no_disagreement(proof: Proof, capsys: pytest.CaptureFixture[str]) -> None:
    figures = proof.summary
    with capsys.disabled():
        print(
            f"\ntwin against the real controller: {figures.traces} traces, {figures.syncs} syncs compared, "
            f"{figures.changes} of them with a change, {figures.disagreements} disagreements, "
            f"{len(figures.repeated)} replayed again, {figures.seconds} s"
        )
    assert figures.traces == len(NAMES) >= LEAST_TRACES
    assert figures.disagreements == 0


@pytest.mark.parametrize("branch", list(Branch))
def test_every_branch_has_a_trace(proof: Proof, branch: Branch) -> None:
    assert proof.summary.branches[branch.name] > 0, f"no trace covers: {branch}"


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_every_rendered_autoscaler_was_replayed(proof: Proof, stack: str) -> None:
    rendered = {name for name in scalers() if name.startswith(f"{stack}/")}
    assert rendered
    assert rendered <= {outcome.trace.scaler.name for outcome in proof.outcomes.values() if outcome.problem is None}
