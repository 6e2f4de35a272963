"""One stage and one run of all traces for the whole session."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import pytest

from cli.recording import ROOT
from sandbox import session, tools
from sandbox.layout import Layout
from tests.sandbox.differential.proof import AT_ONCE, Outcome, Summary, all_traces, prove, summary
from tests.sandbox.differential.stage import raised

REPORT = ROOT / "build" / "differential.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What all traces came to."""

    outcomes: Mapping[str, Outcome]
    """By the trace's name."""
    summary: Summary


@pytest.fixture(scope="session")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    """Replay every trace; the figures are also written to ``build/differential.json``."""
    report = tools.progress()
    binaries = session.control_plane_tools(report, ROOT)
    with raised(Layout(tmp_path_factory.mktemp("differential").resolve()), binaries, report, traces=AT_ONCE) as stage:
        started = time.monotonic()
        outcomes = prove(stage, all_traces())
        figures = summary(outcomes, started)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(asdict(figures), indent=2) + "\n", encoding="utf-8")
    return Proof(outcomes={outcome.trace.name: outcome for outcome in outcomes}, summary=figures)
