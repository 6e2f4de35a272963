"""The rendered Job and CronJob, run: their command, environment and files, with only paths and the address changed."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from components.base.manifests import Manifest
from components.database.migration_plan import CODE_PATH, SECRETS_PATH, SQL_PATH, MigrationContext, plan_migrations
from settings.base import Environment
from settings.cluster import Peer
from settings.data import Data
from tests.real.database import roles
from tests.real.database.conftest import Database


def rendered(database: Database) -> dict[str, Manifest]:
    settings = Data.model_validate(
        {
            "database": database.name,
            "shards": {
                "s00": {
                    "buckets": ["0-1023"],
                    "primary": {"host": "127.0.0.1", "port": database.server.port, "peer": "postgres"},
                }
            },
            "migrations": {
                "image": "payments/migrations:1.0.0",
                "password": {"existing_secret": "payments-migrator"},
                "keep_months": 12,
                "months_ahead": 6,
                "balances": {"password": {"existing_secret": "payments-app"}},
                "metrics": {"password": {"existing_secret": "payments-exporter"}},
            },
        }
    )
    peers = {"postgres": Peer(ports=[5432], pod_labels={"app": "postgres-cluster"})}
    return plan_migrations(settings, MigrationContext(namespace="payments", environment=Environment.DEV, peers=peers))


def laid_out(
    manifests: dict[str, Manifest], template: dict[str, Any], folder: Path
) -> tuple[list[str], dict[str, str]]:
    """Lay the volumes out below a folder as a kubelet does; the container's command and environment."""
    spec = template["spec"]
    config_maps = {m["metadata"]["name"]: m["data"] for m in manifests.values() if m["kind"] == "ConfigMap"}
    mounts = {m["name"]: m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
    for volume in spec["volumes"]:
        target = folder / mounts[volume["name"]].lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        if "configMap" not in volume:
            (target / "password").write_text("unused: loopback is trusted\n")
            continue
        data = config_maps[volume["configMap"]["name"]]
        items = volume["configMap"].get("items", [{"key": key, "path": key} for key in data])
        for item in items:
            path = target / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(data[item["key"]])
    variables = {}
    for entry in spec["containers"][0]["env"]:
        value = entry["value"]
        for path in (CODE_PATH, SQL_PATH, SECRETS_PATH):
            value = value.replace(path, str(folder / path.lstrip("/")))
        variables[entry["name"]] = value
    command = spec["containers"][0]["command"]
    assert command[0] == "python3"
    return [sys.executable, *command[1:]], variables


def run(manifests: dict[str, Manifest], template: dict[str, Any], folder: Path, **changed: str) -> str:
    """Run the container's command until it ends."""
    command, variables = laid_out(manifests, template, folder)
    done = subprocess.run(
        command,
        env={**variables, **changed},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rendered_job_and_cron_job_do_their_work(empty_database: Database, tmp_path: Path) -> None:
    manifests = rendered(empty_database)
    output = run(manifests, manifests["s00-job"]["spec"]["template"], tmp_path)
    assert "applied 0001_foundation" in output
    assert "es.events has partitions for" in output

    again = run(manifests, manifests["s00-job"]["spec"]["template"], tmp_path)
    assert "applied 0, waiting 0" in again
    care = manifests["s00-cronjob"]["spec"]["jobTemplate"]["spec"]["template"]
    empty_database.all("SELECT ops.ensure_monthly_partitions('es.events', 1, 0, '2020-01-15T00:00:00Z')")
    assert "moved es.events_p2020_01 to archive" in run(manifests, care, tmp_path)
    empty_database.all('SELECT es.append(\'s\', 0, \'[{"type": "A", "data": {}}]\')', user=roles.APP)


def test_the_rendered_cron_job_of_the_balances_takes_up_what_is_new(database: Database, tmp_path: Path) -> None:
    database.all("SELECT ledger.open_house_wallet('house', 'house', 'EUR')")
    database.all("SELECT ledger.open_wallet('w1', 'w1', 'EUR')", user=roles.APP)
    database.all("SELECT ledger.transfer('t1', 'house', 'w1', 10.50, 'EUR')", user=roles.APP)
    before = database.all("SELECT min(updated_at) FROM es.read_model_cursor")[0][0]
    manifests = rendered(database)
    template = manifests["s00-balances"]["spec"]["jobTemplate"]["spec"]["template"]
    output = run(manifests, template, tmp_path, BALANCES_RUN_SECONDS="0")
    assert "took up 2 changes of balances" in output
    assert database.all("SELECT wallet_id, balance FROM es.wallet_balances ORDER BY 1") == [
        ("house", Decimal("-10.50")), ("w1", Decimal("10.50")),
    ]  # fmt: skip
    assert database.all("SELECT count(*) FROM es.read_model_cursor WHERE updated_at > %s", before) == [(4,)]
