"""Samples from a Prometheus server over its HTTP API."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from planning.bottlenecks.findings import Series
from planning.bottlenecks.rules import Watch
from planning.bottlenecks.sources import ENTRY_RATE, Look, SourceError
from settings.signals import PER_POD

STEP_SECONDS = 15
_TIMEOUT_SECONDS = 10.0
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Prometheus:
    """One server. ``token`` is sent as a bearer token and appears in no message."""

    url: str
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            message = (
                "--prometheus: allowed: http://host:port or https://host:port, without a user or password; "
                "fix: give a token as a file with --token-file"
            )
            raise SourceError(message)

    def looks(
        self, watched: Iterable[Watch], entry_service: str, *, end_seconds: float, back_seconds: int
    ) -> list[Look]:
        """Every watched series over the time before ``end_seconds``, one look each 15 s.

        A series without samples is simply not in a look; more than one series for a query is an error, because
        nobody would know which one was judged. Raises ``SourceError``.
        """
        end = math.floor(end_seconds / STEP_SECONDS) * STEP_SECONDS
        start = end - math.ceil(back_seconds / STEP_SECONDS) * STEP_SECONDS
        values: dict[float, dict[Series, float]] = defaultdict(dict)
        queries = {watch.series: watch.query for watch in watched}
        queries[ENTRY_RATE, entry_service] = PER_POD["http_requests_per_second"].replace("{service}", entry_service)
        for series, query in queries.items():
            for time, value in self._range(series, query, start, end):
                values[time][series] = value
        times = range(start, end + 1, STEP_SECONDS)
        return [Look(time_seconds=float(time), values=values.get(float(time), {})) for time in times]

    def _range(self, series: Series, query: str, start: int, end: int) -> list[tuple[float, float]]:
        fields = {"query": query, "start": str(start), "end": str(end), "step": str(STEP_SECONDS)}
        found = self._ask("/api/v1/query_range", fields)["result"]
        if len(found) > 1:
            message = f"{self.url}: {' of '.join(series)}: {len(found)} series; allowed: one; fix: aggregate in {query}"
            raise SourceError(message)
        samples = [(float(time), float(value)) for time, value in found[0]["values"]] if found else []
        return [(time, value) for time, value in samples if math.isfinite(value)]

    def _ask(self, path: str, fields: dict[str, str]) -> Any:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        address = self.url.rstrip("/") + path
        try:
            answer = urllib3.request(
                "POST", address, body=urlencode(fields), headers=headers, timeout=_TIMEOUT_SECONDS, retries=False
            )
            document = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            message = (
                f"{address}: no answer that can be read ({type(error).__name__}); "
                "fix: name the address of a Prometheus server with --prometheus"
            )
            raise SourceError(message) from None
        if not isinstance(document, dict) or document.get("status") != "success":
            said = document.get("error", "") if isinstance(document, dict) else ""
            message = f"{address}: HTTP {answer.status} {str(said)[:_SHOWN_CHARACTERS]}; fix: correct the rule's query"
            raise SourceError(message)
        return document["data"]
