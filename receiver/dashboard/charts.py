"""Charts as shapes: numbers over time in, places for an SVG out. No colours, no HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, HEIGHT = 600.0, 150.0  # of the drawing, without its labels
GAP = 0.25  # of a bar's room
STEPS = (1, 2, 5)

Series = Mapping[str, Mapping[datetime, int]]  # name -> beginning of a span -> value


@dataclass(frozen=True, slots=True)
class Piece:
    """One series' part of a bar, from `y` down by `height`."""

    series: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """What happened in the span that began `at`."""

    at: datetime
    x: float
    width: float
    pieces: tuple[Piece, ...]
    values: tuple[int, ...]  # in the order of the series


@dataclass(frozen=True, slots=True)
class Line:
    """A line across, with the number it stands for."""

    y: float
    value: int


@dataclass(frozen=True, slots=True)
class Chart:
    """`totals`: over all bars, by series."""

    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    totals: Mapping[str, int]

    @property
    def marks(self) -> tuple[Bar, ...]:
        """The bars whose time is written below."""
        return self.bars[:: max(1, len(self.bars) // 4)]


def spans(now: datetime, every: timedelta, count: int) -> list[datetime]:
    """The beginnings of the last `count` spans, the present one included, oldest first."""
    length = int(every.total_seconds())
    last = int(now.timestamp()) // length * length
    return [datetime.fromtimestamp(last - length * ago, now.tzinfo) for ago in range(count - 1, -1, -1)]


def stacked(series: Series, names: Sequence[str], times: Sequence[datetime]) -> Chart:
    """One bar a time, its series on top of each other, the first at the bottom."""
    columns = [tuple(series.get(name, {}).get(at, 0) for name in names) for at in times]
    top = ceiling(max(map(sum, columns), default=0))
    room = WIDTH / max(1, len(times))
    return Chart(
        bars=tuple(
            Bar(at, place * room, room * (1 - GAP), _pieces(names, values, top), values)
            for place, (at, values) in enumerate(zip(times, columns, strict=True))
        ),
        lines=tuple(Line(HEIGHT * (1 - value / top), value) for value in sorted({0, top // 2, top})),
        totals={name: sum(values[place] for values in columns) for place, name in enumerate(names)},
    )


def ceiling(value: int) -> int:
    """The next round number: 1, 2, 5, 10, 20, 50 …"""
    power = 1
    while True:
        for step in STEPS:
            if step * power >= value:
                return step * power
        power *= 10


def _pieces(names: Sequence[str], values: Sequence[int], top: int) -> tuple[Piece, ...]:
    found, y = [], HEIGHT
    for name, value in zip(names, values, strict=True):
        height = HEIGHT * value / top
        y -= height
        if value:
            found.append(Piece(name, y, height))
    return tuple(found)
