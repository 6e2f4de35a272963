"""All policies of the pack, in the order in which the engine runs them."""

from policies import (
    availability,
    cache,
    cache_classes,
    cloudflare,
    consumers,
    cost,
    database,
    database_owners,
    edge,
    images,
    images_retired,
    kafka,
    kafka_topics,
    keda,
    loadtest,
    metadata,
    network,
    observability,
    pod_security,
    postgres,
    postgres_stack,
    scaling,
    scaling_inputs,
    secret_values,
    workloads,
)
from policies.rules import Policy

PACK_NAME = "payments-guardrails"


def all_policies() -> list[Policy]:
    """Return a new instance of every policy."""
    return [
        *scaling.policies(),
        *scaling_inputs.policies(),
        *keda.policies(),
        *consumers.policies(),
        *availability.policies(),
        *images.policies(),
        *workloads.policies(),
        *pod_security.policies(),
        *network.policies(),
        *metadata.policies(),
        *secret_values.policies(),
        *cloudflare.policies(),
        *edge.policies(),
        *cache.policies(),
        *cache_classes.policies(),
        *database.policies(),
        *database_owners.policies(),
        *cost.policies(),
        *observability.policies(),
        *loadtest.policies(),
        *kafka.policies(),
        *kafka_topics.policies(),
        *postgres.policies(),
        *postgres_stack.policies(),
        *images_retired.policies(),
    ]
