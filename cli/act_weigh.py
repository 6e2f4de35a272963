"""What a proposed change would do, before anything is touched: settings, policies, forecast and cost."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.check import find_violations
from cli.recording import record_program
from cli.render import manifests
from cli.stack_file import StackFile, read_stack_file
from planning.actions.edit import EditError, apply_edits, diff
from planning.actions.forecast import Forecast, forecast, observed_load
from planning.actions.propose import Action
from planning.bottlenecks.findings import Finding as BottleneckFinding
from planning.bottlenecks.rules import Watch
from planning.bottlenecks.sources import Detection
from planning.cost.bill import Difference, bill, difference, typical_pods
from planning.twin.plant_stack import Stack, read_stack
from policies.evaluate import Finding as Violation
from settings import Settings, SettingsError, load


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighed:
    """A change with everything that speaks for or against it."""

    action: Action
    before: str
    """The stack file that was weighed."""
    text: str
    """The same with the change."""
    diff: str
    forecast: Forecast | None
    cost: Difference | None
    violations: tuple[Violation, ...]
    refusal: str | None
    """Why it must not be applied; ``None``: nothing speaks against it."""

    def details(self) -> dict[str, Any]:
        """What the record keeps."""
        return {
            "summary": self.action.summary,
            "bounds": list(self.action.bounds),
            "diff": self.diff,
            "policies": [f"{each.enforcement} {each.policy}: {each.message}" for each in self.violations],
            "forecast": None if self.forecast is None else self.forecast.as_json(),
            "cost": None
            if self.cost is None
            else {
                "currency": self.cost.currency,
                "minimum": self.cost.minimum,
                "typical": self.cost.typical,
                "maximum": self.cost.maximum,
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Declared:
    """One version of a stack file and what the program declares for it."""

    settings: Settings
    stack: Stack
    manifests: list[dict[str, Any]]
    violations: tuple[Violation, ...]


def weigh(action: Action, path: Path, stack: str, *, detection: Detection, watched: list[Watch]) -> Weighed:
    """Try a change on a copy of the stack file. A change that breaks a rule is refused, with the rule's own words."""
    text = path.read_text(encoding="utf-8")
    try:
        changed = apply_edits(text, action.edits)
    except EditError as error:
        return _refused(action, text, "", str(error))
    shown = diff(text, changed, path.name)
    before = _declared(read_stack_file(path, stack))
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / path.name
        candidate.write_text(changed, encoding="utf-8")
        try:
            after = _declared(read_stack_file(candidate, stack))
        except SettingsError as error:
            return _refused(
                action, text, shown, f"the settings' own rules refuse it: {'; '.join(map(str, error.problems))}"
            )
    mandatory = [each for each in after.violations if each.enforcement == "mandatory"]
    if mandatory:
        said = "; ".join(f"{each.policy}: {each.message}" for each in mandatory)
        return _refused(action, text, shown, f"the policy pack refuses it: {said}", tuple(mandatory))
    expected = _forecast(action.finding, (before.stack, after.stack), detection, watched, action.window_seconds)
    typical = [typical_pods(each.stack) for each in (before, after)]
    cost = difference(
        bill(stack, before.manifests, before.settings, typical[0]),
        bill(stack, after.manifests, after.settings, typical[1]),
    )
    return Weighed(
        action=action,
        before=text,
        text=changed,
        diff=shown,
        forecast=expected,
        cost=cost,
        violations=after.violations,
        refusal=None if expected.helps else _no_help(expected),
    )


def _declared(stack_file: StackFile) -> _Declared:
    settings = load(stack_file.platform, source=stack_file.source)
    resources = record_program(stack_file).resources
    rendered = list(manifests(resources).values())
    return _Declared(
        settings=settings,
        stack=read_stack(stack_file.stack, rendered, settings),
        manifests=rendered,
        violations=tuple(find_violations(resources, stack_file.stack)),
    )


def _forecast(
    finding: BottleneckFinding,
    stacks: tuple[Stack, Stack],
    detection: Detection,
    watched: list[Watch],
    hold_seconds: int,
) -> Forecast:
    threshold = next(watch.warning for watch in watched if watch.series == (finding.metric, finding.subject))
    observed = observed_load(detection.load, hold_seconds=hold_seconds)
    return forecast(*stacks, finding, threshold, observed, latest=detection.latest)


def _no_help(expected: Forecast) -> str:
    return (
        f"the twin expects no help from it under {expected.load}: {expected.metric} of {expected.subject} stays above "
        f"its threshold for {expected.after.over_threshold_minutes:.1f} min (now "
        f"{expected.before.over_threshold_minutes:.1f}), at most {expected.after.highest:,.4g} (now "
        f"{expected.before.highest:,.4g})"
    )


def _refused(action: Action, text: str, shown: str, reason: str, violations: tuple[Violation, ...] = ()) -> Weighed:
    return Weighed(
        action=action,
        before=text,
        text=text,
        diff=shown,
        forecast=None,
        cost=None,
        violations=violations,
        refusal=reason,
    )
