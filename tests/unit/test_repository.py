"""What no file of the repository may hold, and what its workflows, hooks and owners must say."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from policies.configuration import config_path
from tests.unit.stacks import STACKS

ROOT = Path(__file__).resolve().parents[2]
# Spelt in parts, so that this file does not hold what it looks for.
_MACHINE_PATHS = ("/wo" + "rk/", "/ro" + "ot/", "/home" + "/", "/Use" + "rs/")
_REGISTRY = re.compile(
    r"(?i)\b(pypi|files\.pythonhosted|registry\.npmjs|proxy\.golang|sum\.golang|repo1?\.maven)\.(org|com|apache\.org)\b"
)


def tracked_files() -> list[Path]:
    """Files that git knows or would add: what a clone holds."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_place_of_this_machine() -> None:
    for path in tracked_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        found = [place for place in (*_MACHINE_PATHS, str(ROOT)) if re.search(rf"(?<![\w.-]){re.escape(place)}", text)]
        assert not found, f"{path.relative_to(ROOT)} holds {found}"


def test_no_file_names_a_package_registry() -> None:
    for path in tracked_files():
        found = _REGISTRY.search(path.read_text(encoding="utf-8", errors="replace"))
        assert found is None, f"{path.relative_to(ROOT)} holds {found[0] if found else ''}"


def test_no_file_is_large() -> None:
    large = [str(path.relative_to(ROOT)) for path in tracked_files() if path.stat().st_size > 512 * 1024]
    assert not large


def test_policy_files_belong_to_others_than_the_stack_files() -> None:
    owners: dict[str, set[str]] = {}
    for line in (ROOT / ".github" / "CODEOWNERS").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern, *teams = line.split()
            owners[pattern] = set(teams)
    assert config_path("dev").is_relative_to(ROOT / "policies")
    assert owners["/policies/"]
    assert not owners["/policies/"] & owners["/Pulumi.*.yaml"]


def workflows() -> list[Path]:
    return sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", workflows(), ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_with_their_version(path: Path) -> None:
    uses = [line for line in path.read_text(encoding="utf-8").splitlines() if re.search(r"\buses:", line)]
    assert uses
    for line in uses:
        assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line.strip()


@pytest.mark.parametrize("path", workflows(), ids=lambda path: path.name)
def test_workflows_start_without_permissions_and_end_in_time(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        assert "permissions" in job


def test_no_job_that_runs_a_pull_request_may_write() -> None:
    for path in workflows():
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        triggers = workflow[True]  # YAML 1.1 reads the key `on` as a truth value
        assert "pull_request_target" not in triggers
        runs_changes = any(
            "checkout@" in step.get("uses", "") for job in workflow["jobs"].values() for step in job["steps"]
        )
        if runs_changes:
            assert all(job["permissions"] == {"contents": "read"} for job in workflow["jobs"].values()), path.name


def test_ci_runs_the_same_commands_as_a_person() -> None:
    # Of the last one only what the second has not run already.
    wanted = ["make check", "make test", "make test-all -o test"]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "verify.yml").read_text(encoding="utf-8"))
    assert re.findall(r"^step (.+)$", script, re.MULTILINE) == wanted
    assert [step["run"] for step in workflow["jobs"]["verify"]["steps"] if "run" in step] == wanted


def secret_pattern() -> re.Pattern[str]:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    return re.compile(
        next(hook["entry"] for hook in config["repos"][0]["hooks"] if hook["id"] == "no-plaintext-secret")
    )


@pytest.mark.parametrize(
    "line",
    [
        "DB_PASSWORD: hunter2",
        '  apiKey: "abc"',
        "{name: x, client_secret: abc}",
        "DSN: postgres://user:pass@db/payments",
        "AWS: AKIA" + "ABCDEFGHIJKLMNOP",
        "-----BEGIN RSA PRIVATE KEY",
    ],
)
def test_commit_hook_finds_plaintext_secrets(line: str) -> None:
    assert secret_pattern().search(line)


@pytest.mark.parametrize(
    "line",
    [
        "payments:paymentDatabasePassword:",
        "secrets:",
        "- {env: DB_PASSWORD, existing_secret: payment-service-database, key: password}",
        "config_key: databasePassword",
        "DB_PASSWORD: {secure: v1:abc}",
    ],
)
def test_commit_hook_passes_references_and_encrypted_values(line: str) -> None:
    assert not secret_pattern().search(line)


@pytest.mark.parametrize("stack", STACKS)
def test_committed_stack_files_pass_the_commit_hook(stack: str) -> None:
    pattern = secret_pattern()
    text = (ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8")
    assert not [line for line in text.splitlines() if pattern.search(line)]


def test_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text
    kinds = set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_license_is_the_one_that_the_project_states() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_policy_limits_are_readable_json() -> None:
    for stack in STACKS:
        assert isinstance(json.loads(config_path(stack).read_text(encoding="utf-8")), dict)
