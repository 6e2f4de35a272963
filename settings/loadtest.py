"""Load tests: the scenarios, what their requests are, how far they may go, and who allowed it in prod."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.base import DnsLabel, Strict
from settings.problems import RuleError
from settings.services import Image, ResourceAmounts, Resources

Percent = Annotated[int, Field(ge=0, le=100)]
Target = Annotated[str, Field(pattern=r"^https?://[^\s/]+$")]
RequestsPerSecond = Annotated[int, Field(ge=1, le=100_000)]


class Operation(StrEnum):
    """What one request of the script does. The script knows each by this name."""

    CREATE_PAYMENT = "create-payment"
    """POST with an idempotency key of its own."""
    REPEAT_PAYMENT = "repeat-payment"
    """The same POST with the same key, as a client does that lost the answer: it must not pay twice."""
    READ_PAYMENT = "read-payment"
    """GET of a payment that this user made before."""
    READ_WALLET = "read-wallet"
    """GET of the wallet of the user."""


PLAN_MIX: dict[Operation, int] = {
    Operation.CREATE_PAYMENT: 50,
    Operation.REPEAT_PAYMENT: 2,
    Operation.READ_PAYMENT: 28,
    Operation.READ_WALLET: 20,
}


class LoadScenario(Strict):
    """One load: so many requests are started each second, however slow the answers are (an open model)."""

    requests_per_second: RequestsPerSecond
    duration_seconds: Annotated[int, Field(ge=10, le=86_400)]
    """How long the full rate is held."""
    ramp_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """Rise from nothing to the full rate before that; 0: at once."""
    parallelism: Annotated[int, Field(ge=1, le=100)] = 2
    """Pods that share the load."""
    expected_latency_milliseconds: Annotated[int, Field(ge=1, le=60_000)] = 200
    """Virtual users are reserved for twice this latency: a slower platform drops requests, and the test fails."""

    @property
    def virtual_users(self) -> int:
        """Users that wait for an answer at once: rate times latency, doubled."""
        return max(1, -(-2 * self.requests_per_second * self.expected_latency_milliseconds // 1000))


# The plan's own three.
PLAN_SCENARIOS: dict[str, LoadScenario] = {
    "normal": LoadScenario(requests_per_second=1_000, duration_seconds=600, parallelism=2),
    "peak": LoadScenario(requests_per_second=5_000, duration_seconds=300, ramp_seconds=60, parallelism=4),
    "stress": LoadScenario(requests_per_second=10_000, duration_seconds=120, ramp_seconds=60, parallelism=10),
}


class ProdException(Strict):
    """Who allowed load against production, and until when."""

    approved_by: Annotated[str, Field(min_length=3)]
    reason: Annotated[str, Field(min_length=10)]
    until: date
    """Last day on which it holds; the policy pack and ``payctl loadtest`` refuse it afterwards."""


class RemoteWrite(Strict):
    """Where k6 sends its samples: the verdict over all pods of a test is Prometheus's."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    existing_secret: DnsLabel | None = None
    """Secret with ``username`` and ``password``, where the receiver asks for them."""


class LoadTest(Strict):
    """k6 and its operator exist already; a test is declared only where ``run`` names its scenario."""

    target: Target
    """Scheme and host that requests are sent to, without a path."""
    targets: dict[DnsLabel, Target] = {}
    """Service → scheme and host, for services that do not answer at ``target``."""
    image: Image
    """An image of k6 1.0 or newer, by digest in prod."""
    max_requests_per_second: RequestsPerSecond = 1_000
    """Highest rate that may be sent from this stack; the policy pack has a limit of its own."""
    run: list[str] = []
    """Scenarios that are declared as a TestRun; a TestRun starts when it is created, and is not repeated."""
    scenarios: dict[DnsLabel, LoadScenario] = PLAN_SCENARIOS
    mix: dict[Operation, Percent] = PLAN_MIX
    """Operation → percent of the requests."""
    users: Annotated[int, Field(ge=1, le=100_000_000)] = 100_000
    """Users that the requests are spread over; a tenth of them makes most of the requests."""
    remote_write: RemoteWrite | None = None
    prod_exception: ProdException | None = None
    namespace: DnsLabel = "loadtest"
    """Where the tests' pods run; it exists already, with the operator."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="1000m", memory="2Gi"), limits=ResourceAmounts(cpu="2000m", memory="4Gi")
    )

    def target_of(self, service: str) -> str:
        """Where a service answers."""
        return self.targets.get(service, self.target)

    @model_validator(mode="after")
    def _mix_is_whole(self) -> Self:
        total = sum(self.mix.values())
        if total != 100:  # noqa: PLR2004 # percent
            raise RuleError(why=f"mix adds up to {total} percent", fix="make it 100")
        return self

    @model_validator(mode="after")
    def _runs_are_known(self) -> Self:
        unknown = sorted(set(self.run) - set(self.scenarios))
        if unknown:
            known = ", ".join(sorted(self.scenarios))
            raise RuleError(why=f"run names {', '.join(unknown)}; scenarios are {known}", fix="correct the name")
        return self

    @model_validator(mode="after")
    def _runs_are_within_the_limit(self) -> Self:
        for name in self.run:
            rate = self.scenarios[name].requests_per_second
            if rate > self.max_requests_per_second:
                raise RuleError(
                    why=f"run names {name} with {rate} requests/s; max_requests_per_second is "
                    f"{self.max_requests_per_second}",
                    fix="take a smaller scenario, or raise the limit here and in the policy pack",
                )
        return self
