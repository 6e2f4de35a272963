"""What the simulated platform is assumed to be made of: every constant with its unit and where it comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PlantConstants:
    """Properties of pods, consumers and the bank.

    "Plan" marks a figure of the scalability plan; "assumption" marks one that nobody has measured yet. A figure that
    is measured on a real platform replaces the assumption here, and nothing else has to change.
    """

    # APIs
    requests_per_second_per_pod: float = 200.0
    """Rate at which a pod uses exactly its cpu request. Plan: 5 pods for 1,000 requests/s. For a service whose own
    per-pod trigger counts other work (operations, calls), the trigger's target stands in its place: assumption."""
    service_time_p99_seconds: float = 0.150
    """99th percentile of the time to answer when nothing waits. Assumption."""
    database_hold_seconds: float = 0.004
    """How long one request holds a database connection. Assumption: the plan's two wallet thresholds (2,000
    operations/s and 80 % of a pool of 10) are taken to be reached together."""
    request_timeout_seconds: float = 10.0
    """Longest that a client waits; what has waited longer is dropped. Assumption."""
    queueing_utilization_limit: float = 0.97
    """Above this utilization the steady-state formula no longer speaks for a short moment; what does not fit is
    counted in the backlog instead."""
    idle_memory_share: float = 0.45
    """Memory of a fresh pod, as a share of its request. Assumption."""
    memory_share_per_planned_load: float = 0.25
    """Memory that a load of ``requests_per_second_per_pod`` adds, as a share of the request. Assumption. The heap
    never shrinks: the highest load since the pod's start counts."""
    heap_limit_share: float = 0.90
    """Highest memory use as a share of the limit: the runtime collects instead of growing. Assumption."""

    # Pods
    start_seconds: float = 30.0
    """From the decision to the end of start-up: scheduling, image, process. Assumption; readiness adds one period of
    the pod's own readiness probe."""

    # Consumers
    capacity_ratio: float = 1.0
    """True messages/s of a consumer divided by ``messages_per_second_per_consumer`` of the settings."""
    rebalance_seconds: float = 15.0
    """How long partitions that change their owner are read by nobody. The others go on (cooperative-sticky).
    Assumption: a heartbeat of 10 s until every member knows, and the two rounds of the protocol."""
    commit_delay_seconds: float = 0.5
    """Age of the newest committed offset of a group that keeps up; the lag never reads below it. Assumption."""

    # Traffic: what one request to the entry service causes elsewhere
    requests_per_entry_request: float = 1.0
    """Requests to each other API. Assumption: every request is a payment that touches the wallet and the bank."""
    events_per_entry_request: float = 1.0
    """Messages on each topic. Assumption, on the safe side of the plan's 24 partitions for 5,000 requests/s."""

    # The bank
    bank_mean_seconds: float = 0.3
    """Mean answer of a healthy bank; answers are taken as exponential, so p99 is 4.6 times the mean. Assumption."""
    bank_workers_per_pod: int = 400
    """Calls that one pod of the gateway keeps open at a time. Assumption."""
    breaker_timeout_seconds: float = 2.0
    """A call that takes longer counts as failed. Plan: the gateway's response threshold."""
    breaker_failure_share: float = 0.5
    """Share of failed calls that opens the breaker. Assumption: the usual default."""
    breaker_window_seconds: float = 30.0
    """How long the share must hold. Assumption."""
    breaker_open_seconds: float = 60.0
    """How long an open breaker refuses everything before it tries again. Assumption: the usual default."""
    breaker_trial_seconds: float = 15.0
    """How long a tenth of the calls is let through to try. Assumption."""
    breaker_trial_share: float = 0.1
    """Share of calls let through meanwhile."""
    refused_call_cost: float = 0.1
    """Cpu of a refused call as a share of a full one. Assumption."""

    # Signals
    rate_window_seconds: int = 60
    """Window of ``rate()`` in the recorded signals."""
    offset_window_seconds: int = 120
    """Window of the rate under the consumers' rate floor."""
    cpu_window_seconds: int = 30
    """Window of the metrics server's cpu samples. Assumption: two scrapes of 15 s."""
