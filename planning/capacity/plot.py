"""The load that each limit carries, as a picture: bars up to where headroom ends and where the limit breaks."""

from collections.abc import Sequence
from pathlib import Path

from planning.capacity.model import Demand
from planning.capacity.sensitivity import HIGHEST_PEAK, BreakPoint

# Okabe and Ito's colours, told apart by people with any colour vision.
_GOOD, _TIGHT = "#009E73", "#E69F00"
_WIDTH_INCHES, _ROW_INCHES = 10.0, 0.34
_LABEL_SHIFT = 1.03


def draw(stack: str, points: Sequence[BreakPoint], demands: Sequence[Demand], path: Path) -> None:
    """Write the picture, PNG or SVG by the file's name; the limit that breaks first is on top."""
    # Half a second that no other command should pay; drawing needs no display.
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, 1.8 + _ROW_INCHES * len(points)), layout="constrained")
    axis = figure.subplots()
    for row, point in enumerate(points):
        tight = point.tight_at if point.tight_at is not None else HIGHEST_PEAK
        short = point.short_at if point.short_at is not None else HIGHEST_PEAK
        axis.barh(row, tight, color=_GOOD, label="with the headroom that is asked for" if row == 0 else None)
        axis.barh(row, short - tight, left=tight, color=_TIGHT, label="with less" if row == 0 else None)
        text = f"{short:,.0f}" if point.short_at is not None else "not reached"
        inside = point.short_at is None
        axis.text(
            short / _LABEL_SHIFT if inside else short * _LABEL_SHIFT, row, text, fontsize=8, va="center",
            ha="right" if inside else "left",
        )  # fmt: skip
    for demand in demands:
        axis.axvline(demand.peak_requests_per_second, color="#444444", linewidth=0.9, linestyle=":")
        axis.annotate(
            demand.name, (demand.peak_requests_per_second, 1.0), xycoords=("data", "axes fraction"), fontsize=8,
            ha="center", va="bottom",
        )  # fmt: skip
    axis.set_yticks(range(len(points)), [point.key for point in points], fontsize=9)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlim(100, HIGHEST_PEAK)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_xlabel("peak at the entry [requests/s]; the figure at a bar's end is where the limit breaks")
    axis.set_title(f"what breaks first, stack {stack}", fontsize=11, pad=18)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    # No date and no version in the file: the same plan gives the same bytes.
    mpl.rcParams["svg.hashsalt"] = "payments"
    figure.savefig(path, dpi=100, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
