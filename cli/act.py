"""``payctl act``: a finding becomes a change of the stack's settings, seen before it is made and judged afterwards."""

import getpass
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from filelock import FileLock, Timeout

from cli.act_apply import ChangedMeanwhileError, apply, preview, undeployed
from cli.act_recover import recover
from cli.act_run import Run, agrees
from cli.act_settle import settle
from cli.act_table import print_refusal, print_weighed
from cli.act_weigh import Weighed, weigh
from cli.detect import SOURCE_MISTAKES, SourceOptions, open_source, source_options
from cli.options import EXIT_INVALID_SETTINGS, EXIT_VIOLATION, load_stack, says_problems, stack_option, stack_path
from cli.output import console, print_json, print_problem
from cli.recording import ROOT
from planning.actions.audit import BUDGET_DAYS, UNATTENDED, AuditError, Decision, decided_unattended, held_back
from planning.actions.propose import Action, Refusal, Situation, propose
from planning.bottlenecks.sources import Detection
from planning.cost.amounts import AmountsError

_DEFAULT_COOLDOWN_SECONDS = 900


class ConsentError(ValueError):
    """Options of consent that do not fit together."""


class BusyError(ValueError):
    """Another run decides about the same stack file."""


_MISTAKES = (*SOURCE_MISTAKES, AuditError, AmountsError, ConsentError, BusyError, ChangedMeanwhileError)


def _act_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="With --propose: the answers as JSON."),
        click.option("--wait", is_flag=True, help="Stay until every change is verified or undone."),
        click.option("--verify", is_flag=True, help="Judge earlier changes; undo those that did not help in time."),
        click.option("--propose", "propose_only", is_flag=True, help="Only say what would be done; no engine."),
        click.option(
            "--budget",
            type=click.FloatRange(min=0),
            help="Most that unattended runs add to a month in 30 days.",
        ),
        click.option("--unattended", is_flag=True, help="Decide without a person, within --budget."),
        click.option("--yes", is_flag=True, help="Agree to every change that nothing speaks against."),
        click.option(
            "--cooldown-seconds",
            type=click.IntRange(min=0),
            default=_DEFAULT_COOLDOWN_SECONDS,
            show_default=True,
            help="Shortest time between two changes of a service.",
        ),
        click.option(
            "--verify-seconds",
            type=click.IntRange(min=15),
            help="How long a change has to end its finding. [each action's own]",
        ),
        click.option(
            "--audit", type=click.Path(path_type=Path, dir_okay=False), help="The record. [audit/STACK.jsonl]"
        ),
    ):
        command = option(command)
    return command


@click.command("act")
@stack_option
@source_options
@_act_options
@says_problems
def act_command(
    *,
    stack: str,
    config_file: Path | None,
    samples: Path | None,
    prometheus: str | None,
    token_file: Path | None,
    twin: str | None,
    rules: Path,
    audit: Path | None,
    verify_seconds: int | None,
    cooldown_seconds: int,
    yes: bool,
    unattended: bool,
    budget: float | None,
    propose_only: bool,
    verify: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Answer findings with changes of the stack's settings.

    Each change is shown with its diff, the policies, the twin's forecast, its cost and the engine's preview, and made
    only with consent. A change that has not ended its finding when its time is over is undone by --verify or --wait.

    Exit code 0: nothing is left to do. 1: something was refused, declined, undone, or waits. 2: invalid input.
    """
    options = SourceOptions(samples=samples, prometheus=prometheus, token_file=token_file, twin=twin, rules=rules)
    try:
        _require_consent_options(
            yes=yes, unattended=unattended, budget=budget, as_json=as_json, propose_only=propose_only
        )
        _, settings = load_stack(stack, config_file)
        run = Run(
            stack=stack,
            path=stack_path(stack, config_file),
            audit=audit or ROOT / "audit" / f"{stack}.jsonl",
            source=open_source(options, stack, config_file, settings),
            actor=UNATTENDED if unattended else _user(),
            yes=yes or unattended,
            budget=budget if unattended else None,
            propose_only=propose_only,
            quiet=as_json,
            verify_seconds=verify_seconds,
            cooldown_seconds=cooldown_seconds,
        )
        if propose_only:
            recover(run)
        done = _act(run) if propose_only else _alone(run, verify=verify, wait=wait)
    except _MISTAKES as error:
        print_problem(str(error))
        raise click.exceptions.Exit(EXIT_INVALID_SETTINGS) from None
    if not done:
        raise click.exceptions.Exit(EXIT_VIOLATION)


def _require_consent_options(
    *, yes: bool, unattended: bool, budget: float | None, as_json: bool, propose_only: bool
) -> None:
    if unattended and budget is None:
        message = (
            "--unattended needs --budget AMOUNT: the most that it may add to the month's cost, in 30 days together"
        )
        raise ConsentError(message)
    if budget is not None and not unattended:
        message = "--budget bounds --unattended; fix: add --unattended, or leave it away and decide yourself"
        raise ConsentError(message)
    if unattended and yes:
        message = "--yes is a person's consent, --unattended has none; fix: give one of them"
        raise ConsentError(message)
    if as_json and not propose_only:
        message = "--json goes with --propose: a run that asks and deploys speaks to a person; its record is JSON"
        raise ConsentError(message)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"


def lock_of(stack_file: Path) -> Path:
    """The lock of everybody who changes a stack file: beside it, whatever record a run keeps."""
    whole = stack_file.resolve()
    return whole.with_name(f".{whole.name}.act.lock")


def _alone(run: Run, *, verify: bool, wait: bool) -> bool:
    """Act, or judge, while no other run decides about the same stack file."""
    try:
        with FileLock(lock_of(run.path), timeout=0):
            recover(run)
            done = settle(run, wait=wait) if verify else _act(run)
            return settle(run, wait=True) and done if wait and not verify else done
    except Timeout:
        message = f"another payctl act uses {run.path.name}; fix: wait for it: two changes at once could not be judged"
        raise BusyError(message) from None


def _act(run: Run) -> bool:
    """Answer every finding; whether all of them were answered by a change."""
    detection = run.source.detect()
    run.note_ended(detection)
    if not detection.findings:
        if run.quiet:
            print_json([])
        else:
            console.print(f"stack {run.stack}: no findings, nothing to do")
        return True
    answers = propose(_situation(run, detection))
    rows: list[dict[str, Any]] = []
    good = True
    for answer in answers:
        held = None if isinstance(answer, Refusal) else _held_back(run, answer)
        if isinstance(answer, Refusal) or held is not None:
            refusal = held or answer
            assert isinstance(refusal, Refusal)  # noqa: S101 # an action that is held back became one
            run.record(Decision.REFUSED, refusal, refusal.reason, {"instead": refusal.instead})
            rows.append({"finding": answer.finding.as_json(), "refused": refusal.reason, "instead": refusal.instead})
            if not run.quiet:
                print_refusal(refusal)
            good = False
            continue
        weighed = weigh(
            answer, run.path, run.stack,
            detection=detection, watched=run.source.watched,
        )  # fmt: skip
        refused = weighed.refusal or _over_budget(run, weighed)
        rows.append({"finding": answer.finding.as_json(), "refused": refused, **weighed.details()})
        if not run.quiet:
            print_weighed(weighed)
        good = _decide(run, weighed, detection) and good
    if run.quiet:
        print_json(rows)
    return good


def _situation(run: Run, detection: Detection) -> Situation:
    stack_file, settings = load_stack(run.stack, run.path)
    platform = stack_file.platform if isinstance(stack_file.platform, Mapping) else {}
    return Situation(settings=settings, findings=detection.findings, latest=detection.latest, platform=platform)


def _held_back(run: Run, action: Action) -> Refusal | None:
    reason = held_back(
        run.entries(),
        action.finding.service,
        [edit.path for edit in action.edits],
        now_seconds=time.time(),
        cooldown_seconds=run.cooldown_seconds,
    )
    if reason is None:
        return None
    return Refusal(finding=action.finding, reason=reason, instead="wait; two changes at once could not be judged apart")


def _decide(run: Run, weighed: Weighed, detection: Detection) -> bool:
    """Refuse, decline or apply; whether the change is made."""
    action, details = weighed.action, weighed.details()
    refusal = weighed.refusal or _over_budget(run, weighed)
    if refusal is None:
        if run.propose_only:
            return True
        refusal = undeployed(run.stack, run.path)
    if refusal is not None:
        if weighed.refusal is None and not run.quiet:
            console.print(f"refused: {refusal}", markup=False, soft_wrap=True)
        run.record(Decision.REFUSED, action, refusal, details)
        return False
    if not preview(run.stack, run.path, weighed.text):
        run.record(Decision.FAILED, action, "the engine's preview refused it", details)
        return False
    if not run.yes and not agrees(f"Apply this to stack {run.stack}?", default=False):
        run.record(Decision.DECLINED, action, "declined at the prompt", details)
        return False
    return _carry_out(run, weighed, detection)


def _carry_out(run: Run, weighed: Weighed, detection: Detection) -> bool:
    """Apply; the record says so before anything is touched, and again how it ended."""
    action = weighed.action
    window = action.window_seconds if run.verify_seconds is None else run.verify_seconds
    judged = {"verify_seconds": window, "source_end_seconds": detection.end_seconds}
    details = {**weighed.details(), **judged}
    consent = f"within the budget of {run.budget:,.2f}" if run.budget is not None else "with consent"
    begun = run.record(Decision.APPLYING, action, consent, details)
    try:
        deployed = apply(run.stack, run.path, before=weighed.before, after=weighed.text)
    except BaseException as error:
        what = type(error).__name__
        reason = f"{what}; the stack file is as before, `payctl up` deploys it"
        run.record(Decision.FAILED, action, reason, details, of=begun)
        raise
    if not deployed:
        run.record(Decision.FAILED, action, "the engine refused it; the stack file is as before", details, of=begun)
        return False
    entry = run.record(Decision.APPLIED, action, consent, details, of=begun)
    console.print(f"applied as {entry.id}; judge it with: payctl act --verify --stack {run.stack}", markup=False)
    return True


def _over_budget(run: Run, weighed: Weighed) -> str | None:
    if run.budget is None or weighed.cost is None:
        return None
    if weighed.forecast is not None and weighed.forecast.not_modelled is not None:
        return f"unattended changes need a forecast, and {weighed.forecast.not_modelled}"
    spent = decided_unattended(run.entries(), time.time())
    if weighed.cost.largest + spent <= run.budget:
        return None
    already = f", {spent:,.2f} were decided unattended in the last {BUDGET_DAYS} days" if spent else ""
    return (
        f"it costs up to {weighed.cost.largest:,.2f} {weighed.cost.currency} more in a month{already}, and the budget "
        f"is {run.budget:,.2f}"
    )
