"""What load tests have measured: the capacities that the planner counts with instead of beliefs."""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA_VERSION = 1


class MeasuredError(ValueError):
    """A file of measured capacities that cannot be read; the message says where and what."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class MeasuredCapacity(_Strict):
    """One load test of one service at one constant or ramped rate."""

    service: str
    scenario: str
    """Name of the scenario under ``loadtest.scenarios``."""
    taken_at: datetime
    pods: Annotated[int, Field(ge=1)]
    """API pods that shared the load."""
    wanted_requests_per_second: Annotated[float, Field(gt=0)]
    """The highest rate that the scenario asks for."""
    requests_per_second: Annotated[float, Field(ge=0)]
    """The rate that was reached: while it was held when ``passed``, else as an average over the run."""
    p99_milliseconds: Annotated[float, Field(ge=0)]
    failed_share: Annotated[float, Field(ge=0, le=1)]
    dropped_iterations: Annotated[int, Field(ge=0)]
    """Requests that were due and never sent, because every virtual user was still waiting."""
    passed: bool
    """Whether every threshold held. Then the pods carry the rate; else it is only known that they do not."""

    @property
    def requests_per_second_per_pod(self) -> float:
        """What one pod served; a lower bound of its capacity when ``passed``, an upper bound otherwise."""
        return self.requests_per_second / self.pods


class MeasuredCapacities(_Strict):
    """The file that ``payctl loadtest --out`` writes and ``payctl plan --measured`` reads."""

    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    capacities: list[MeasuredCapacity] = []

    def of_service(self, service: str) -> MeasuredCapacity | None:
        """The highest passed rate per pod of a service; ``None`` without a passed test."""
        passed = [one for one in self.capacities if one.service == service and one.passed]
        return max(passed, key=lambda one: one.requests_per_second_per_pod, default=None)

    def with_results(self, results: Iterable[MeasuredCapacity]) -> "MeasuredCapacities":
        """A copy in which newer results replace older ones of the same service and scenario."""
        kept = {(one.service, one.scenario): one for one in self.capacities}
        kept.update({(one.service, one.scenario): one for one in results})
        return MeasuredCapacities(capacities=[kept[key] for key in sorted(kept)])


def read_measured(file: Path) -> MeasuredCapacities:
    """Read a file of measured capacities. Raises ``MeasuredError``."""
    try:
        return MeasuredCapacities.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MeasuredError(f"{file}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise MeasuredError(f"{file}: {where}: {first['msg']}; write it anew with payctl loadtest") from None


def write_measured(file: Path, measured: MeasuredCapacities) -> None:
    """Write the file as indented JSON, sorted by service and scenario."""
    file.write_text(json.dumps(measured.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
