"""A board as data, and how Grafana's library turns it into JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import GraphTresholdsStyleMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
)

SECONDS, MILLISECONDS, BYTES = units.Seconds, units.Milliseconds, units.BytesIEC
SHARE, PER_SECOND, COUNT = units.PercentUnit, units.RequestsPerSecond, units.Short
_WIDTH, _HEIGHT = 8, 7  # of Grafana's 24 columns; three panels a line
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One line or several, by label."""

    expression: str
    legend: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One picture. ``limit`` is drawn as a red line: where an alert begins, or what the settings allow."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    limit: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """One page of panels."""

    key: str
    """Part of its uid and of its ConfigMap's name."""
    title: str
    panels: tuple[Panel, ...]
    services: tuple[str, ...] = ()
    """Choices of the variable ``$service``; no variable when empty."""


def panel(title: str, unit: str, *queries: tuple[str, str], limit: float | None = None) -> Panel:
    """A panel from pairs of expression and legend."""
    found = tuple(Query(expression=expression, legend=legend) for expression, legend in queries)
    return Panel(title=title, unit=unit, queries=found, limit=limit)


def to_json(board: Board) -> str:
    """The board as Grafana imports it; the same bytes every time."""
    builder = (
        dashboard.Dashboard(f"Payments: {board.title}")
        .uid(f"payments-{board.key}")
        .tags(["payments"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("utc")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    if board.services:
        builder = builder.with_variable(_service_variable(board.services))
    for one in board.panels:
        builder = builder.with_panel(_time_series(one))
    return json.dumps(builder.build(), cls=JSONEncoder, sort_keys=True, indent=1)


def _service_variable(services: Sequence[str]) -> dashboard.CustomVariable:
    first = VariableOption(text=services[0], value=services[0], selected=True)
    return dashboard.CustomVariable("service").label("Service").values(",".join(services)).current(first)


def _time_series(one: Panel) -> timeseries.Panel:
    built = timeseries.Panel().title(one.title).unit(one.unit).datasource(_SOURCE).span(_WIDTH).height(_HEIGHT).min(0)
    for index, query in enumerate(one.queries):
        target = prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(chr(ord("A") + index))
        built = built.with_target(target)
    if one.limit is None:
        return built
    steps = [Threshold(value=None, color="green"), Threshold(value=one.limit, color="red")]
    limit = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
    line = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.LINE)
    return built.thresholds(limit).thresholds_style(line)
