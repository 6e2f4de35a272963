"""A run as a picture: load, replicas, lag and latency on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planning.twin.plant_api import ApiSpec
from planning.twin.simulation import Run, Track

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which people with any colour vision tell apart; consumers are dashed besides.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_WIDTH_INCHES, _HEIGHT_INCHES = 7.5, 10.0
_MINUTES_AXIS_UP_TO_SECONDS = 2.5 * 3600


def draw(runs: Sequence[Run], path: Path, *, title: str | None = None) -> None:
    """Write the picture of one run, or of several side by side on the same axes; PNG or SVG by the file's name."""
    # Half a second that no other command should pay; drawing needs no display.
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES * len(runs), _HEIGHT_INCHES), layout="constrained")
    grid = figure.subplots(4, len(runs), sharex=True, sharey="row", squeeze=False)
    for column, run in enumerate(runs):
        _column([row[column] for row in grid], run, first=column == 0)
    # Only now: the columns share their scales, and setting one ends the fitting to later data.
    _scales([row[0] for row in grid])
    for column, run in enumerate(runs):
        _promise(grid[0][column], run.stack.promised_requests_per_second)
    scenario = runs[0].scenario
    figure.suptitle(title or f"{scenario.name}: {scenario.summary}", fontsize=12)
    handles, labels = grid[1][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    # No date and no version in the file: the same run gives the same bytes.
    svg = path.suffix == ".svg"
    mpl.rcParams["svg.hashsalt"] = "payments"
    figure.savefig(path, dpi=100, metadata={"Date": None} if svg else {"Software": None})


def _colours(run: Run) -> dict[str, str]:
    """An API and its consumers share a colour."""
    owners = [t.workload.deployment["metadata"].get("labels", {}).get("app.kubernetes.io/name") for t in run.tracks]
    order = {owner: index for index, owner in enumerate(dict.fromkeys(owners))}
    return {
        track.workload.name: _COLOURS[order[owner] % len(_COLOURS)]
        for track, owner in zip(run.tracks, owners, strict=True)
    }


def _column(axes: list[Axes], run: Run, *, first: bool) -> None:
    load, replicas, lag, latency = axes
    times, unit = _times(run)
    colours = _colours(run)
    load.set_title(f"stack {run.stack.name} ({_scaler(run)})", fontsize=11)
    load.plot(times, run.scenario.load.requests_per_second, color="#444444", linewidth=1.0)
    for track in run.tracks:
        name, style = track.workload.name, _style(track)
        common: dict[str, Any] = {"color": colours[name], "linestyle": style, "linewidth": 1.4}
        replicas.step(times, track.replicas, where="post", label=name, **common)
        if track.lag:
            lag.plot(times, [max(value, 1.0) for value in track.lag], **common)
        else:
            latency.plot(times, [max(value, 0.01) for value in track.p99_seconds], **common)
    _mark(axes, run, unit)
    for axis in axes:
        axis.grid(visible=True, color="#dddddd", linewidth=0.6)
        axis.margins(x=0)
    latency.set_xlabel("hours" if unit == 3600.0 else "minutes")  # noqa: PLR2004 # seconds of an hour
    if first:
        load.set_ylabel("load [requests/s]")
        replicas.set_ylabel("replicas [pods]")
        lag.set_ylabel("consumer lag [messages]")
        latency.set_ylabel("API p99 [s]")


def _promise(load: Axes, promised: float) -> None:
    """A line at the promised peak, where the load comes near it."""
    if promised <= load.get_ylim()[1]:
        load.axhline(promised, color="#444444", linewidth=0.8, linestyle=":")
        where = (0.99, promised)
        load.annotate(
            f"promised: {promised:,}", where, xycoords=("axes fraction", "data"), fontsize=8, ha="right", va="top"
        )


def _scales(axes: list[Axes]) -> None:
    """Lag and latency span magnitudes; load and replicas start at nothing. Plain numbers, no powers of ten."""
    from matplotlib.ticker import MaxNLocator

    load, replicas, lag, latency = axes
    for axis in (load, replicas):
        axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
    replicas.yaxis.set_major_locator(MaxNLocator(integer=True))
    lag.set_yscale("log")
    lag.set_ylim(bottom=min(10.0, lag.get_ylim()[0]), top=max(10_000.0, lag.get_ylim()[1]))
    latency.set_yscale("log")
    latency.set_ylim(0.05, 20.0)
    for axis in (load, lag):
        axis.yaxis.set_major_formatter("{x:,.0f}")
    latency.yaxis.set_major_formatter("{x:g}")
    latency.yaxis.set_minor_formatter("")


def _times(run: Run) -> tuple[list[float], float]:
    """Times in minutes or hours, and the seconds of one of them."""
    load = run.scenario.load
    unit = 60.0 if load.duration_seconds <= _MINUTES_AXIS_UP_TO_SECONDS else 3600.0
    return [index * load.step_seconds / unit for index in range(len(load.requests_per_second))], unit


def _style(track: Track) -> str:
    return "-" if isinstance(track.workload.spec, ApiSpec) else "--"


def _scaler(run: Run) -> str:
    kinds = {track.workload.scaler["kind"] for track in run.tracks}
    return "KEDA" if "ScaledObject" in kinds else "HPA"


def _mark(axes: list[Axes], run: Run, unit: float) -> None:
    """Shade what happens besides the load."""
    scenario = run.scenario
    for window, text in ((scenario.slow_bank, "slow bank"), (scenario.metrics_outage, "no Prometheus")):
        if window is not None:
            for axis in axes:
                axis.axvspan(window.start_seconds / unit, window.end_seconds / unit, color="#eeeeee", zorder=0)
            axes[0].annotate(
                text, (window.start_seconds / unit, 0.03), xycoords=("data", "axes fraction"), fontsize=8, va="bottom"
            )
    if scenario.rollout_seconds is not None:
        for axis in axes:
            axis.axvline(scenario.rollout_seconds / unit, color="#888888", linewidth=0.8)
        axes[0].annotate(
            "rollout", (scenario.rollout_seconds / unit, 0.03), xycoords=("data", "axes fraction"), fontsize=8
        )
