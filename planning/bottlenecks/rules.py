"""Bottleneck rules: thresholds as data, and one watch for each subject of a stack that a rule applies to."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from settings.base import Strict
from settings.platform import Settings
from settings.problems import RuleError
from settings.scaling import BreakerHold, LatencyTrigger
from settings.services import Service

RULES_FILE = Path(__file__).with_name("rules.yaml")
_DEFAULT_OBJECTIVE_MILLISECONDS = 500
"""The plan's trigger on p99, for an API that states no objective of its own."""


class RulesError(ValueError):
    """A file of rules that cannot be used; the message says where, what and how to mend it."""


class Subjects(StrEnum):
    """What a rule is applied to."""

    API = "api"
    API_WITH_POOL = "api-with-pool"
    API_WITH_BREAKER = "api-with-breaker"
    CONSUMER = "consumer"
    WORKLOAD = "workload"
    """Every API and every group of consumers."""


class Rule(Strict):
    """One kind of bottleneck. Values above a threshold for its duration are a finding."""

    kind: Annotated[str, Field(pattern=r"^[A-Z][A-Z_]*$")]
    metric: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """Name of the samples that the rule reads."""
    subjects: Annotated[Subjects, Field(strict=False)]
    unit: str
    relative_to: Literal["none", "lag-target", "latency-objective"] = "none"
    warning: Annotated[float, Field(gt=0)]
    critical: Annotated[float, Field(gt=0)]
    duration_seconds: Annotated[int, Field(ge=0, le=86_400)]
    """How long every sample must be at or above a threshold before it is reported."""
    clear_at_percent: Annotated[int, Field(ge=10, le=100)] = 90
    """A finding ends below this share of its warning threshold: one value around it opens and ends nothing."""
    clear_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    """How long it must stay there."""
    missing_seconds: Annotated[int, Field(ge=15, le=86_400)] = 120
    """Without a sample for so long, the silence is a finding of its own."""
    query: Annotated[str, Field(min_length=1)]
    """PromQL of the value, one series."""
    recommendation: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.critical <= self.warning:
            raise RuleError(
                why=f"{self.kind}: critical {self.critical:g} is not above warning {self.warning:g}",
                fix="raise critical: the severity would never be warning",
            )
        return self


class _File(Strict):
    rules: Annotated[list[Rule], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_kind_once(self) -> Self:
        kinds = [rule.kind for rule in self.rules]
        twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if twice:
            raise RuleError(why=f"more than one rule for {', '.join(twice)}", fix="keep one of each")
        return self


def read_rules(path: Path = RULES_FILE) -> tuple[Rule, ...]:
    """The rules of a file. Raises ``RulesError`` with every problem in it."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = f"{path.name}: no readable YAML file ({' '.join(str(error).split())}); fix: name another file"
        raise RulesError(message) from None
    try:
        return tuple(_File.model_validate(document).rules)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise RulesError("\n".join([f"{path.name}: {len(lines)} problem(s) in the rules", *lines])) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """One rule on one subject, with its thresholds in units of the metric."""

    rule: Rule
    subject: str
    """Name of the Deployment."""
    service: str
    warning: float
    critical: float
    query: str

    @property
    def series(self) -> tuple[str, str]:
        """Metric and subject: the name of the samples that are watched."""
        return self.rule.metric, self.subject

    @property
    def clear_below(self) -> float:
        """Value under which an open finding begins to end."""
        return self.warning * self.rule.clear_at_percent / 100

    @property
    def lower_below(self) -> float:
        """Value under which a critical finding becomes a warning."""
        return self.critical * self.rule.clear_at_percent / 100


def watches(rules: tuple[Rule, ...], settings: Settings) -> list[Watch]:
    """Everything to watch on a stack, in the order of the rules and of the services."""
    return [watch for rule in rules for watch in _of_rule(rule, settings)]


def _of_rule(rule: Rule, settings: Settings) -> Iterator[Watch]:
    for name, service in settings.services.items():
        for subject in _subjects(rule.subjects, name, service):
            scale = _scale(rule, service)
            yield Watch(
                rule=rule,
                subject=subject,
                service=name,
                warning=rule.warning * scale,
                critical=rule.critical * scale,
                query=_filled(rule.query, subject, name, settings),
            )


def _subjects(chosen: Subjects, name: str, service: Service) -> Iterator[str]:
    triggers = service.api.scaling.triggers
    has_pool = service.api.database_connections_per_pod > 0
    has_breaker = any(isinstance(trigger, BreakerHold) for trigger in triggers)
    of_api = {
        Subjects.API: True,
        Subjects.WORKLOAD: True,
        Subjects.API_WITH_POOL: has_pool,
        Subjects.API_WITH_BREAKER: has_breaker,
    }
    if of_api.get(chosen, False):
        yield name
    if chosen in (Subjects.CONSUMER, Subjects.WORKLOAD) and service.consumer is not None:
        yield service.consumer.name


def _scale(rule: Rule, service: Service) -> float:
    if rule.relative_to == "lag-target" and service.consumer is not None:
        return float(service.consumer.scaling.add_above_lag_per_consumer)
    if rule.relative_to == "latency-objective":
        objectives = [
            trigger.objective_milliseconds
            for trigger in service.api.scaling.triggers
            if isinstance(trigger, LatencyTrigger)
        ]
        return max(objectives, default=_DEFAULT_OBJECTIVE_MILLISECONDS) / 1000
    return 1.0


def _filled(query: str, subject: str, name: str, settings: Settings) -> str:
    consumer = settings.services[name].consumer
    is_consumer = consumer is not None and subject == consumer.name
    scaling = consumer.scaling if consumer is not None and is_consumer else settings.services[name].api.scaling
    values = {
        "service": name,
        "workload": subject,
        "namespace": settings.cluster.namespaces.services,
        "maximum": str(scaling.max_replicas),
        "consumer": consumer.name if consumer is not None else "",
        "group": consumer.group if consumer is not None else "",
        "topic": consumer.topic if consumer is not None else "",
    }
    for key, value in values.items():
        query = query.replace(f"{{{key}}}", value)
    return query
