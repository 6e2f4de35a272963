"""The component that declares the migrations of every shard whose primary is named."""

from dataclasses import dataclass, field

import pulumi

from components.base.manifests import child_opts, declare
from components.database.migration_plan import MigrationContext, plan_migrations
from settings.data import Data


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationsArgs:
    """The shards, their surroundings, and what must be there before a pod starts."""

    data: Data
    context: MigrationContext
    requires: tuple[pulumi.Resource, ...] = field(default=())


class Migrations(pulumi.ComponentResource):
    """SQL, runner, and for each shard Jobs, CronJobs and the pod that serves its figures."""

    done: list[pulumi.Resource]
    """The Jobs: what needs the new schema waits for them."""

    def __init__(self, name: str, args: MigrationsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:database:Migrations", name, {}, opts)
        needed = list(args.requires)
        jobs: dict[str, pulumi.Resource] = {}
        for role, manifest in plan_migrations(args.data, args.context).items():
            runs = manifest["kind"] in ("Job", "CronJob", "Deployment")
            waits_for = list(needed) if runs else list(args.requires)
            shard = role.partition("-")[0]
            if manifest["kind"] == "Deployment":
                # Its figures are those of the newest schema: beside an older one it would have none at all.
                waits_for.append(jobs[shard])
            resource = declare(f"{name}-{role}", manifest, child_opts(self, depends_on=waits_for))
            if not runs:
                needed.append(resource)
            elif manifest["kind"] == "Job":
                jobs[shard] = resource
        self.done = list(jobs.values())
        self.register_outputs({"jobs": len(self.done)})
