"""The database's files of a committed stack, as the trials start them."""

from pathlib import Path

import yaml

from components.postgres.backup_files import backup_files
from components.postgres.backup_plan import backup_job_files
from components.postgres.etcd_plan import ETCD_DATA_PATH, plan_etcd
from components.postgres.haproxy_files import render_haproxy
from components.postgres.model import (
    AUTH_USER,
    CONFIG_PATH,
    DATA_DIRECTORY,
    ETCD_TLS_PATH,
    MONITORING_USER,
    OPERATIONS_NAME,
    PASSWORDS_PATH,
    RUN_PATH,
    TLS_PATH,
    DatabaseContext,
    context_of,
)
from components.postgres.patroni_files import member_files, render_patroni
from components.postgres.pgbouncer_files import POOLER_RUN_PATH, PoolerMode, render_pgbouncer
from sandbox.postgres_mapping import Rendered
from settings import load
from settings.postgres_rules import ETCD_NAME

ROOT = Path(__file__).resolve().parent.parent


def database_of(stack: str) -> DatabaseContext:
    """The database of ``Pulumi.<stack>.yaml``."""
    source = f"Pulumi.{stack}.yaml"
    document = yaml.safe_load((ROOT / source).read_text(encoding="utf-8"))
    context = context_of(load(document["config"]["payments:platform"], source=source))
    assert context is not None, f"the stack {stack} declares no database"  # noqa: S101
    return context


def render(context: DatabaseContext, shard: str | None = None) -> Rendered:
    """Every text of one shard; the first one unless another is named."""
    chosen = shard or context.postgres.shards[0]
    files = {**member_files(context, chosen), "patroni.yml": render_patroni(context, chosen)}
    if context.postgres.backup is not None:
        files |= backup_files(context, chosen)
    members = [host.partition(".")[0] for host in context.member_hosts(chosen)]
    haproxy = render_haproxy(context, chosen)
    [etcd] = plan_etcd(context)["etcd-statefulset"]["spec"]["template"]["spec"]["containers"]
    return Rendered(
        patroni=dict.fromkeys(members, files),
        backup_jobs=backup_job_files(context, chosen),
        operations=OPERATIONS_NAME,
        haproxy={mode.value: haproxy for mode in PoolerMode},
        pgbouncer={mode.value: render_pgbouncer(context, chosen, mode) for mode in PoolerMode},
        etcd=tuple(etcd["args"]),
        etcd_name=ETCD_NAME,
        paths={
            "config": CONFIG_PATH, "tls": TLS_PATH, "etcd_tls": ETCD_TLS_PATH, "etcd_data": ETCD_DATA_PATH,
            "passwords": PASSWORDS_PATH, "run": RUN_PATH, "data": DATA_DIRECTORY, "pooler_run": POOLER_RUN_PATH,
        },
        users={"pooler": AUTH_USER, "monitoring": MONITORING_USER},
    )  # fmt: skip
