"""The platform as a picture: an SVG drawn from what the program declares, the same bytes every time.

Workloads are rows. The ends of network flows are lanes, callers on the left and what may be called on the right;
a dot where a row crosses a lane is a flow that a NetworkPolicy allows. So the picture stays readable with any number
of services, where arrows between boxes would not. All lengths are in pixels.
"""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TypeVar

from cli.graph_model import Lane, NamespaceFrame, ServiceGroup, Workload, read_frames
from cli.recording import Recorded
from cli.render import manifests

_MARGIN = 24
# Titles of lanes stand at an angle: names are longer than a lane is wide.
_TITLE_DEGREES = -38
_HEADER_HEIGHT = 236
_LANE_WIDTH = 44
# What the title of the last lane needs beyond it.
_RIGHT_MARGIN = 240
_CARD_WIDTH = 440
_LINE_HEIGHT = 17
_CARD_PADDING = 12
_GAP = 12
_GROUP_TITLE_HEIGHT = 26
_FRAME_TITLE_LINE_HEIGHT = 15
_LEGEND_HEIGHT = 46

_INK, _MUTED, _PAPER, _FRAME, _CARD_EDGE = "#1b2733", "#5a6b7b", "#ffffff", "#f4f7fa", "#c3ced9"
# Fills of cards by role, and colours of lanes in order of appearance; all are told apart in greyscale by position.
_ROLE_FILL = {"api": "#e3effb", "consumer": "#fdf1dc"}
_LANE_COLOURS = ("#2f6db3", "#b3632f", "#2f8f5b", "#8a4fa3", "#b33a54", "#4b6b7a", "#7a6a1f")

Place = tuple[int, int]
T = TypeVar("T")


def to_svg(resources: Sequence[Recorded]) -> str:
    """Draw every namespace that holds workloads."""
    return draw(read_frames(manifests(resources).values()))


def draw(frames: Sequence[NamespaceFrame]) -> str:
    """The picture as SVG text. What manifests say is escaped; nothing outside the file is referred to."""
    return _Drawing(frames).svg()


class _Drawing:
    def __init__(self, frames: Sequence[NamespaceFrame]) -> None:
        self._frames = frames
        workloads = [workload for frame in frames for group in frame.services for workload in group.workloads]
        self._callers = _distinct(workload.callers for workload in workloads)
        self._callees = _distinct(workload.callees for workload in workloads)
        lanes = [*self._callers, *self._callees]
        # The same peer has one colour on both sides.
        titles = list(dict.fromkeys(lane.title for lane in lanes))
        self._colours = {lane.key: _LANE_COLOURS[titles.index(lane.title) % len(_LANE_COLOURS)] for lane in lanes}
        self._left = _MARGIN + len(self._callers) * _LANE_WIDTH
        self._width = self._left + _CARD_WIDTH + 2 * _GAP + len(self._callees) * _LANE_WIDTH + _RIGHT_MARGIN
        self._parts: list[str] = []

    def svg(self) -> str:
        heights = [_frame_height(frame) for frame in self._frames]
        bottom = _HEADER_HEIGHT + sum(heights) + _GAP * len(heights)
        height = bottom + _LEGEND_HEIGHT
        self._heading()
        top = _HEADER_HEIGHT
        for frame, frame_height in zip(self._frames, heights, strict=True):
            self._frame(frame, top, frame_height)
            top += frame_height + _GAP
        self._legend(bottom)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {height}" width="{self._width}" '
            f'height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="13" fill="{_INK}" role="img">'
        )
        title = "<title>Payments platform: workloads, autoscaler bounds and allowed network flows</title>"
        paper = f'<rect width="{self._width}" height="{height}" fill="{_PAPER}"/>'
        return "\n".join([head, title, paper, *self._parts, "</svg>"]) + "\n"

    def _heading(self) -> None:
        stacks = ", ".join(dict.fromkeys(frame.environment for frame in self._frames))
        self._text((_MARGIN, 32), f"Payments platform, {stacks}", size=20, weight="bold")
        if self._callers:
            self._text((_MARGIN, 62), "may be called by", colour=_MUTED)
        if self._callees:
            self._text((self._left + _CARD_WIDTH + 2 * _GAP, 62), "may call", colour=_MUTED)
        for lanes in (self._callers, self._callees):
            for index, lane in enumerate(lanes):
                self._lane_title(lane, (self._lane_x(lanes, index), _HEADER_HEIGHT - 10))

    def _lane_title(self, lane: Lane, place: Place) -> None:
        x, y = place
        detail = f'<tspan dx="6" font-weight="normal" fill="{_MUTED}">{escape(lane.detail)}</tspan>'
        self._parts.append(
            f'<text x="{x}" y="{y}" font-size="12" font-weight="bold" fill="{self._colours[lane.key]}" '
            f'transform="rotate({_TITLE_DEGREES} {x} {y})">{escape(lane.title)}{detail if lane.detail else ""}</text>'
        )

    def _frame(self, frame: NamespaceFrame, top: int, height: int) -> None:
        self._box((self._left, top), (_CARD_WIDTH + 2 * _GAP, height), fill=_FRAME, edge=_CARD_EDGE)
        for lanes in (self._callers, self._callees):
            for index, lane in enumerate(lanes):
                x = self._lane_x(lanes, index)
                self._line((x, top), (x, top + height), self._colours[lane.key], width=5, opacity="0.18")
        self._text((self._left + _GAP, top + 21), f"namespace {frame.name}", weight="bold")
        for number, guard in enumerate(frame.guards, start=1):
            place = (self._left + _GAP, top + 23 + number * _FRAME_TITLE_LINE_HEIGHT)
            self._text(place, guard, size=11, colour=_MUTED)
        y = top + _frame_title_height(frame)
        for group in frame.services:
            self._group(group, y)
            y += _group_height(group) + _GAP

    def _group(self, group: ServiceGroup, top: int) -> None:
        left = self._left + _GAP
        self._text((left, top + 17), group.name, weight="bold", size=14)
        about = f"owner {group.owner} · PCI scope {group.pci_scope}"
        self._text((left + _CARD_WIDTH, top + 17), about, size=11, colour=_MUTED, anchor="end")
        y = top + _GROUP_TITLE_HEIGHT
        for workload in group.workloads:
            self._card(workload, (left, y))
            y += _card_height(workload) + _GAP // 2

    def _card(self, workload: Workload, place: Place) -> None:
        left, top = place
        height = _card_height(workload)
        self._box(place, (_CARD_WIDTH, height), fill=_ROLE_FILL.get(workload.role, _PAPER), edge=_CARD_EDGE)
        baseline = top + _CARD_PADDING + 11
        self._text((left + _CARD_PADDING, baseline), workload.name, weight="bold")
        self._text((left + _CARD_WIDTH - _CARD_PADDING, baseline), workload.bounds, weight="bold", anchor="end")
        for number, line in enumerate(_card_lines(workload), start=1):
            self._text((left + _CARD_PADDING, baseline + number * _LINE_HEIGHT), line, size=12, colour=_MUTED)
        middle = top + height // 2
        self._flows(workload.callers, self._callers, (left, middle))
        self._flows(workload.callees, self._callees, (left + _CARD_WIDTH, middle))

    def _flows(self, used: Sequence[Lane], lanes: Sequence[Lane], card_edge: Place) -> None:
        """One line from a card to the farthest lane that it uses, with a dot at each lane that it uses."""
        x_card, y = card_edge
        places = {lane.key: self._lane_x(lanes, index) for index, lane in enumerate(lanes)}
        if not used:
            return
        farthest = max((places[lane.key] for lane in used), key=lambda x: abs(x - x_card))
        self._line((farthest, y), (x_card, y), _MUTED, width=1)
        if lanes is self._callers:
            self._parts.append(f'<path d="M{x_card} {y} l-8 -4 v8 z" fill="{_MUTED}"/>')
        for lane in used:
            self._parts.append(f'<circle cx="{places[lane.key]}" cy="{y}" r="6" fill="{self._colours[lane.key]}"/>')

    def _legend(self, top: int) -> None:
        flows = "A dot is a flow that a network policy allows; every other is denied. All pods may also ask the DNS."
        cards = (
            "Blue: an API behind its Service. Yellow: consumers of a topic. White: what they stand on. "
            "Bounds and targets are the autoscaler's. What members of a cluster say to each other is left out."
        )
        for number, words in enumerate((flows, cards)):
            self._text((_MARGIN, top + 16 + number * _LINE_HEIGHT), words, size=12, colour=_MUTED)

    def _lane_x(self, lanes: Sequence[Lane], index: int) -> int:
        start = _MARGIN if lanes is self._callers else self._left + _CARD_WIDTH + 2 * _GAP
        return start + index * _LANE_WIDTH + _LANE_WIDTH // 2

    def _text(
        self,
        place: Place,
        text: str,
        *,
        size: int = 13,
        weight: str = "normal",
        colour: str = _INK,
        anchor: str = "start",
    ) -> None:
        self._parts.append(
            f'<text x="{place[0]}" y="{place[1]}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
            f'text-anchor="{anchor}">{escape(text)}</text>'
        )

    def _box(self, place: Place, size: Place, *, fill: str, edge: str) -> None:
        self._parts.append(
            f'<rect x="{place[0]}" y="{place[1]}" width="{size[0]}" height="{size[1]}" rx="6" fill="{fill}" '
            f'stroke="{edge}"/>'
        )

    def _line(self, start: Place, end: Place, colour: str, *, width: int, opacity: str = "1") -> None:
        self._parts.append(
            f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" stroke="{colour}" '
            f'stroke-width="{width}" stroke-opacity="{opacity}"/>'
        )


def _card_lines(workload: Workload) -> list[str]:
    """Resource targets are short and share a line; each external metric has its own."""
    resources = " · ".join(workload.resource_targets)
    return [line for line in (workload.note, resources, *workload.external_targets) if line]


def _card_height(workload: Workload) -> int:
    return 2 * _CARD_PADDING + _LINE_HEIGHT * (1 + len(_card_lines(workload))) - 4


def _group_height(group: ServiceGroup) -> int:
    return _stacked(group.workloads, _card_height, gap=_GAP // 2) + _GROUP_TITLE_HEIGHT


def _frame_title_height(frame: NamespaceFrame) -> int:
    return 35 + len(frame.guards) * _FRAME_TITLE_LINE_HEIGHT


def _frame_height(frame: NamespaceFrame) -> int:
    return _frame_title_height(frame) + _stacked(frame.services, _group_height, gap=_GAP) + _GAP


def _stacked(items: Sequence[T], height: Callable[[T], int], *, gap: int) -> int:
    return sum(map(height, items)) + gap * max(len(items) - 1, 0)


def _distinct(groups: Iterable[Sequence[Lane]]) -> list[Lane]:
    """Every lane once, the most used first, so that lines are short; then by title."""
    uses: dict[Lane, int] = {}
    for group in groups:
        for lane in group:
            uses[lane] = uses.get(lane, 0) + 1
    return sorted(uses, key=lambda lane: (-uses[lane], lane.title, lane.key))
