"""``payctl loadtest``: run k6 where it is installed, and turn what it measured into capacities for the planner."""

import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.options import EXIT_INVALID_SETTINGS, EXIT_VIOLATION, load_stack, says_problems, stack_option
from cli.output import console, print_json, print_problem
from components.loadtest.component import LoadTestsArgs, plan_load_tests
from components.loadtest.plan import SCRIPT, k6_plan, plan_text
from planning.capacity.k6_summary import measured_capacities
from planning.capacity.measured import (
    MeasuredCapacities,
    MeasuredCapacity,
    MeasuredError,
    read_measured,
    write_measured,
)
from policies.configuration import config_path, load_config
from policies.evaluate import Resource, evaluate
from settings import Settings
from settings.base import Environment
from settings.loadtest import LoadTest

# k6's own exit code for "the test ran, and a threshold was crossed".
_THRESHOLDS_CROSSED = 99
_GRACE_SECONDS = 120
_POLICY = "load-tests-are-bounded"
_STANDARD_ERROR = 2
_SUMMARY = "summary.json"
# A token or a kubeconfig of the caller has no business in a load generator.
_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE")


class LoadTestError(ValueError):
    """A test that may not or cannot be run; the message says why and what to do."""


@click.command("loadtest")
@stack_option
@click.option("--scenario", default="normal", show_default=True, help="Name under loadtest.scenarios.")
@click.option(
    "--pods",
    multiple=True,
    required=True,
    metavar="SERVICE=N",
    help="API pods of a service during the test; once for each service to measure.",
)
@click.option("--summary", type=click.Path(path_type=Path, dir_okay=False), help="Read this summary; run nothing.")
@click.option("--k6", "k6_program", default="k6", show_default=True, help="The program k6.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File of measured capacities to add to.")
@click.option("--json", "as_json", is_flag=True, help="Measured capacities as JSON.")
@says_problems
def loadtest_command(
    *,
    stack: str,
    config_file: Path | None,
    scenario: str,
    pods: tuple[str, ...],
    summary: Path | None,
    k6_program: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Send a scenario's load with k6, or read what k6 has measured elsewhere.

    Exit code 0: every threshold held. 1: one was crossed, or k6 failed. 2: the test may not be run, or its figures
    cannot be read.
    """
    try:
        _, settings = load_stack(stack, config_file)
        loadtest = allowed_test(settings, scenario, runs=summary is None)
        if summary is None:
            require_policy(stack, settings, loadtest, scenario)
        counts = dict(_count(text, settings) for text in pods)
        before = read_measured(out) if out is not None and out.exists() else MeasuredCapacities()
        text = summary.read_text(encoding="utf-8") if summary else run_k6(k6_program, settings, loadtest, scenario)
        results = measured_capacities(
            text,
            source=str(summary or "k6's summary"),
            scenario=scenario,
            load=loadtest.scenarios[scenario],
            pods=counts,
            taken_at=datetime.now(tz=UTC).replace(microsecond=0),
        )
    except (LoadTestError, MeasuredError) as error:
        print_problem(str(error))
        raise click.exceptions.Exit(EXIT_INVALID_SETTINGS) from None
    if out is not None:
        write_measured(out, before.with_results(results))
    if as_json:
        print_json([one.model_dump(mode="json") for one in results])
    else:
        _print(results)
    if not all(one.passed for one in results):
        raise click.exceptions.Exit(EXIT_VIOLATION)


def allowed_test(settings: Settings, scenario: str, *, runs: bool) -> LoadTest:
    """The load tests of a stack that knows this scenario and lets it run. Raises ``LoadTestError``."""
    loadtest = settings.loadtest
    if loadtest is None:
        raise LoadTestError("loadtest: is not in the stack file; fix: add it with target and image")
    if scenario not in loadtest.scenarios:
        known = ", ".join(sorted(loadtest.scenarios))
        raise LoadTestError(f"--scenario: is '{scenario}'; allowed: one of loadtest.scenarios: {known}")
    if not runs:
        return loadtest
    rate, limit = loadtest.scenarios[scenario].requests_per_second, loadtest.max_requests_per_second
    if rate > limit:
        raise LoadTestError(
            f"loadtest.max_requests_per_second: is {limit}; {scenario} sends {rate}; "
            "fix: take a smaller scenario, or raise the limit on purpose"
        )
    exception = loadtest.prod_exception
    if settings.environment is Environment.PROD:
        if exception is None:
            raise LoadTestError(
                "loadtest.prod_exception: is not there; allowed: no load against prod without it; "
                "fix: test another stack, or say who allowed it, why and until when"
            )
        if exception.until < datetime.now(tz=UTC).date():
            raise LoadTestError(f"loadtest.prod_exception.until: is {exception.until}; fix: have it renewed")
    return loadtest


def require_policy(stack: str, settings: Settings, loadtest: LoadTest, scenario: str) -> None:
    """Ask the pack of the stack about the TestRun that the test would be in the cluster. Raises ``LoadTestError``.

    It is the same load, wherever it comes from: rate, target and who may allow it have one owner.
    """
    objectives = settings.observability.objectives if settings.observability is not None else {}
    args = LoadTestsArgs(
        loadtest=loadtest.model_copy(update={"run": [scenario]}),
        environment=settings.environment,
        objectives=objectives,
    )
    test = plan_load_tests(args)[f"{scenario}-test"]
    resource = Resource(
        type=f"kubernetes:{test['apiVersion']}:{test['kind']}",
        name=scenario,
        urn=f"urn:pulumi:{stack}::payments::kubernetes:{test['apiVersion']}:{test['kind']}::{scenario}",
        props=test,
    )
    found = [each for each in evaluate([resource], load_config(config_path(stack))) if each.policy == _POLICY]
    if found:
        raise LoadTestError(f"the policy pack refuses it: {_POLICY}: {' '.join(each.message for each in found)}")


def run_k6(program: str, settings: Settings, loadtest: LoadTest, scenario: str) -> str:
    """Run the script with k6 and return its summary. Raises ``LoadTestError``."""
    found = shutil.which(program)
    if found is None:
        raise LoadTestError(
            f"--k6: no program '{program}' here; fix: install k6 (https://grafana.com/docs/k6), name it with --k6, "
            "or run the test elsewhere and read its result with --summary"
        )
    objectives = settings.observability.objectives if settings.observability is not None else {}
    load = loadtest.scenarios[scenario]
    seconds = load.ramp_seconds + load.duration_seconds + _GRACE_SECONDS
    with tempfile.TemporaryDirectory(prefix="payctl-loadtest-") as name:
        folder = Path(name)
        shutil.copy(SCRIPT, folder / SCRIPT.name)
        (folder / "plan.json").write_text(plan_text(k6_plan(loadtest, scenario, objectives)), encoding="utf-8")
        kept = {key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ}
        environment = kept | {"SUMMARY_FILE": _SUMMARY, "TEST_ID": f"{scenario}-{datetime.now(tz=UTC):%Y%m%dT%H%M%S}"}
        # What k6 prints is progress for the person who waits; standard output stays for the result.
        answer = subprocess.run(
            [found, "run", SCRIPT.name],
            cwd=folder,
            env=environment,
            timeout=seconds,
            check=False,
            stdout=_STANDARD_ERROR,
        )
        if answer.returncode not in (0, _THRESHOLDS_CROSSED):
            raise LoadTestError(f"k6 ended with exit code {answer.returncode}; fix: what it says above")
        if not (folder / _SUMMARY).exists():
            raise LoadTestError("k6 wrote no summary; fix: use k6 1.0 or newer")
        return (folder / _SUMMARY).read_text(encoding="utf-8")


def _count(text: str, settings: Settings) -> tuple[str, int]:
    service, _, number = text.partition("=")
    if service not in settings.services:
        known = ", ".join(sorted(settings.services))
        raise LoadTestError(f"--pods: is '{text}'; allowed: SERVICE=N with one of services: {known}")
    if not number.isdigit() or int(number) < 1:
        raise LoadTestError(f"--pods: is '{text}'; allowed: SERVICE=N with N at least 1")
    return service, int(number)


def _print(results: list[MeasuredCapacity]) -> None:
    for one in results:
        verdict = "carries" if one.passed else "does not carry"
        console.print(
            f"{one.service}: {one.pods} pods, {one.requests_per_second:.0f} of "
            f"{one.wanted_requests_per_second:.0f} requests/s, p99 {one.p99_milliseconds:.0f} ms, "
            f"{one.failed_share:.2%} failed, {one.dropped_iterations} dropped: one pod {verdict} "
            f"{one.requests_per_second_per_pod:.0f} requests/s",
            markup=False,
            soft_wrap=True,
        )
