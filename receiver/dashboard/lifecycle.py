"""An order's way over its map: history in, a drawing out, and the same once more as a list of steps.

Only measures and words are made here; the SVG is written by templates/lifecycle.html. No clock, no database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Literal

from receiver.dashboard.lifecycle_maps import Map, Place, Way, label_of, map_of
from workers.core.history import Event
from workers.core.order import Order
from workers.core.status import Window, entry


class State(StrEnum):
    """What a place is to this order. Each is drawn in a shape of its own; colour only repeats it."""

    VISITED = "visited"
    CURRENT = "current"
    REACHABLE = "reachable"
    GONE = "no longer reachable"
    SKIPPED = "skipped"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True)
class Deed:
    """Something we or an operator did, or are about to do. `event`: the one the order stood at, where that is
    known better than by the time. `href`: its row in the timeline."""

    kind: Literal["due", "hold", "call", "confirmed"]
    at: datetime
    text: str
    event: int | None = None
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Stay:
    """An unbroken stay in one status, from its first event on."""

    event: Event
    number: int
    left_at: datetime | None  # None: still there

    @property
    def name(self) -> str:
        return self.event.status.name

    def lasted(self, now: datetime) -> timedelta:
        return max((self.left_at or now) - self.event.at, timedelta(0))


@dataclass(frozen=True, slots=True)
class Move:
    """The step from one stay to the next."""

    number: int
    start: Stay
    end: Stay


@dataclass(frozen=True)
class Story:
    """An order at `now` (UTC), with what is told on its map besides its history.

    sources   event id -> what brought the event, in words
    answers   status -> what the API answered when it was asked to cancel from there
    line      what is written at the line behind which nothing is cancelled
    """

    order: Order
    now: datetime
    deeds: tuple[Deed, ...] = ()
    sources: Mapping[int, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    line: str = ""

    @cached_property
    def map(self) -> Map | None:
        """None when nobody knows how the sample is collected."""
        return map_of(self.order.method, self.order.history) if self.order.method else None

    @cached_property
    def stays(self) -> tuple[Stay, ...]:
        """The history with repetitions folded, but for those the map documents: a reschedule."""
        begins: list[Event] = []
        for event in self.order.history.events:
            name = event.status.name
            again = bool(begins) and begins[-1].status.name == name
            if not again or (self.map is not None and (name, name) in self.map.ways):
                begins.append(event)
        ends = (*(event.at for event in begins[1:]), None)
        pairs = enumerate(zip(begins, ends, strict=False), 1)
        return tuple(Stay(event, number, left_at) for number, (event, left_at) in pairs)

    @property
    def moves(self) -> tuple[Move, ...]:
        return tuple(Move(number, start, end) for number, (start, end) in enumerate(pairwise(self.stays), 1))

    def documented(self, move: Move) -> bool:
        return self.map is not None and self.map.documents((move.start.name, move.end.name))

    def stay_of(self, deed: Deed) -> Stay | None:
        """Where the order stood when it was done; what is still to come stands where the order is."""
        if not self.stays:
            return None
        if deed.event is not None:
            begun = [s for s in self.stays if (s.event.at, s.event.id) <= self._place_of(deed.event)]
        else:
            begun = [stay for stay in self.stays if stay.event.at <= deed.at]
        return begun[-1] if begun else self.stays[0]

    def _place_of(self, event_id: int) -> tuple[datetime, int]:
        found = next((event for event in self.order.history.events if event.id == event_id), None)
        return (found.at, found.id) if found else (self.now, event_id)


# --- as a list ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the list: what the drawing shows, in words."""

    label: str
    stay: Stay
    after: timedelta | None  # since the step before
    lasted: timedelta
    source: str
    notes: tuple[str, ...]
    deeds: tuple[Deed, ...]

    @property
    def href(self) -> str:
        return f"#ev-{self.stay.event.id}"


def steps(story: Story) -> tuple[Step, ...]:
    """The way of the order, oldest first."""
    arrivals = {move.end.number: move for move in story.moves}
    return tuple(_step(story, stay, arrivals.get(stay.number)) for stay in story.stays)


def _step(story: Story, stay: Stay, arrival: Move | None) -> Step:
    notes = []
    if story.map is not None and stay.name not in story.map.places:
        notes.append("a status that the map does not know")
    elif arrival is not None and not story.documented(arrival):
        notes.append("no documented way leads here")
    return Step(
        label=label_of(stay.name),
        stay=stay,
        after=stay.event.at - arrival.start.event.at if arrival else None,
        lasted=stay.lasted(story.now),
        source=story.sources.get(stay.event.id, ""),
        notes=tuple(notes),
        deeds=tuple(deed for deed in story.deeds if story.stay_of(deed) == stay),
    )


# --- as a drawing ------------------------------------------------------------------------------------------

WIDTH, HEIGHT, SMALL = 136, 74, 40  # of a box
GAP, CUT_GAP, PITCH = 36, 66, 98
SPINE = 28  # from a box's left: where lines leave and enter it from above and below
MARGIN, LANE_TOP, TOP = 14, 30, 92
OVER = TOP - 18  # the channel above the boxes, for the ways to `cancelled`
UP, MIDDLE, DOWN, CUT_AT = 9, 18, 27, 44  # tracks within a gap, from its left
BEFORE = 12  # the one in front of the next box

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Chip:
    """One of the three layers, at a box: J documented by Junction, W our window, A what the API answered."""

    text: str
    kind: str
    title: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Badge:
    """A deed of ours at a box."""

    deed: Deed
    x: float


@dataclass(frozen=True, slots=True)
class Box:
    """One status. `stays`: the times the order was there."""

    place: Place
    state: State
    x: float
    y: float
    height: float
    stays: tuple[Stay, ...] = ()
    lasted: timedelta | None = None
    chips: tuple[Chip, ...] = ()
    badges: tuple[Badge, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The label, in two lines where one is too short."""
        return _wrapped(self.place.label) if not self.place.small else (self.place.label,)

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        return self.x + WIDTH

    @property
    def css(self) -> str:
        return self.state.name.lower()


@dataclass(frozen=True, slots=True)
class Strand:
    """A line on the map. Where it was gone: the numbers of the moves, and whether nobody documents it."""

    line: str
    head: str  # the arrow's transform
    taken: bool
    numbers: tuple[int, ...] = ()
    strange: bool = False
    badge: Point = (0, 0)

    @property
    def text(self) -> str:
        return "·".join(map(str, self.numbers))


@dataclass(frozen=True, slots=True)
class Band:
    """A lane's background."""

    title: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything the SVG says, measured. Lengths in pixels."""

    title: str
    width: float
    height: float
    bottom: float  # of the lanes
    bands: tuple[Band, ...]
    boxes: tuple[Box, ...]
    strands: tuple[Strand, ...]
    cut: float
    crossed: bool
    line: str
    others: float | None  # where the row of unknown statuses begins


def draw(story: Story) -> Drawing | None:
    """The map with this order on it; None when there is no map of its method."""
    if story.map is None:
        return None
    grid = _Grid(story.map, _strangers(story))
    boxes = {key: _furnished(story, box) for key, box in grid.boxes.items()}
    right = grid.left(max(place.column for place in story.map.places.values())) + WIDTH + MARGIN
    return Drawing(
        title=story.map.title,
        width=right,
        height=grid.bottom + (HEIGHT + 56 if grid.strangers else MARGIN),
        bottom=grid.bottom,
        bands=tuple(_bands(story.map, grid)),
        boxes=tuple(boxes.values()),
        strands=(*_untaken(story, grid), *_taken(story, grid)),
        cut=grid.left(story.map.cut) + WIDTH + CUT_AT,
        crossed=_crossed(story),
        line=story.line,
        others=grid.bottom + 10 if grid.strangers else None,
    )


def _crossed(story: Story) -> bool:
    """Whether the order has ever stood behind the line, its ends apart."""
    assert story.map is not None
    known = [story.map.places[s.name] for s in story.stays if s.name in story.map.places]
    return any(place.column > story.map.cut and not place.small for place in known)


def _bands(map_: Map, grid: _Grid) -> Iterator[Band]:
    for lane in map_.lanes:
        x = grid.left(lane.first) - GAP / 2 + 4 if lane.first else 0
        end = grid.left(lane.last) + WIDTH
        last = lane is map_.lanes[-1]
        width = end + MARGIN - x if last else grid.left(lane.last + 1) - GAP / 2 - 4 - x
        yield Band(lane.title, x, width)


# --- boxes -------------------------------------------------------------------------------------------------


def _strangers(story: Story) -> tuple[Place, ...]:
    """A place for every stay in a status that the map does not know, below the last one it knows."""
    assert story.map is not None
    found: list[Place] = []
    column, taken = 0, set[int]()
    last = max(place.column for place in story.map.places.values())
    for stay in story.stays:
        if known := story.map.places.get(stay.name):
            column = known.column
            continue
        free = next((c for c in (*range(column, last + 1), *range(column)) if c not in taken), column)
        taken.add(free)
        found.append(Place(_key(story, stay), label_of(stay.name), free, 0))
    return tuple(found)


def _key(story: Story, stay: Stay) -> str:
    assert story.map is not None
    return stay.name if stay.name in story.map.places else f"event {stay.event.id}"


def _state(story: Story, name: str) -> State:
    assert story.map is not None
    places = story.map.places
    been = [stay.name for stay in story.stays if stay.name in places]
    if not been:
        return State.REACHABLE
    if name == story.stays[-1].name:
        return State.CURRENT
    if name in been:
        return State.VISITED
    if name in story.map.path and any(_further(story.map, other, name) for other in been):
        return State.SKIPPED
    return State.REACHABLE if name in story.map.reachable_from(been[-1]) else State.GONE


def _further(map_: Map, one: str, other: str) -> bool:
    return one in map_.path and map_.path.index(one) > map_.path.index(other)


def _furnished(story: Story, box: Box) -> Box:
    """The box with what this order did there."""
    stays = tuple(stay for stay in story.stays if _key(story, stay) == box.place.name)
    stranger = box.place.name.startswith("event ")
    deeds = [deed for deed in story.deeds if story.stay_of(deed) in stays]
    return replace(
        box,
        state=State.UNEXPECTED if stranger else _state(story, box.place.name),
        stays=stays,
        lasted=stays[-1].lasted(story.now) if stays else None,
        chips=() if stranger else tuple(_chips(story, box)),
        badges=tuple(Badge(deed, box.right - 14 - 22 * i) for i, deed in enumerate(reversed(deeds[-4:]))),
    )


def _chips(story: Story, box: Box) -> Iterator[Chip]:
    """From the right, so that they stay clear of the lines on the left."""
    x = box.right - 6
    for text, kind, title in reversed(list(_layers(story, box.place.name))):
        width = 12 + 6 * len(text)
        x -= width + 4
        yield Chip(text, kind, title, x, width)


def _layers(story: Story, name: str) -> Iterator[tuple[str, str, str]]:
    known = entry(story.order.method, name)
    if known is not None and known.documented:
        yield "J", "documented", "Junction documents that it can be cancelled from here"
    if known is not None and known.window is not Window.CLOSED:
        kind = "open" if known.window is Window.OPEN else "conditional"
        yield "W", kind, f"Our policy: {known.window.value}"
    if answer := story.answers.get(name):
        yield f"A {answer}", "answered", f"The API was asked to cancel from here and answered: {answer}"


def _wrapped(label: str, longest: int = 15) -> tuple[str, ...]:
    """In at most two lines; a text nobody foresaw is cut."""
    first, rest = "", ""
    for word in label.split():
        if not rest and len(first) + len(word) <= longest:
            first = f"{first} {word}".strip()
        else:
            rest = f"{rest} {word}".strip()
    if not first:
        first, rest = rest, ""
    return tuple(line if len(line) <= longest + 2 else line[:longest] + "…" for line in (first, rest) if line)


# --- lines -------------------------------------------------------------------------------------------------


def _untaken(story: Story, grid: _Grid) -> Iterator[Strand]:
    assert story.map is not None
    gone = {(move.start.name, move.end.name) for move in story.moves}
    ways = sorted(story.map.ways - gone)
    for way in ways:
        if way[1] != "cancelled":
            yield _strand(grid, way, taken=False)
    if starts := [start for start, end in ways if end == "cancelled"]:
        yield _tree(grid, starts)


def _taken(story: Story, grid: _Grid) -> Iterator[Strand]:
    walked: dict[Way, list[Move]] = {}
    for move in story.moves:
        walked.setdefault((_key(story, move.start), _key(story, move.end)), []).append(move)
    names = [stay.name for stay in story.stays]
    loops = len(names) > len(set(names))
    for way, moves in walked.items():
        yield replace(
            _strand(grid, way, taken=True),
            numbers=tuple(move.number for move in moves) if loops else (),
            strange=not story.documented(moves[0]),
        )


def _strand(grid: _Grid, way: Way, *, taken: bool) -> Strand:
    points = grid.route(way)
    return Strand(_rounded(points), _head(points), taken, badge=_middle_of_longest(points))


def _tree(grid: _Grid, starts: Iterable[str]) -> Strand:
    """All untaken ways to `cancelled` as one line with branches: dashes that overlap would look solid."""
    routes = [grid.route((start, "cancelled")) for start in starts]
    by_gap: dict[float, list[list[Point]]] = {}
    for route in routes:
        by_gap.setdefault(route[1][0], []).append(route)
    lines = []
    for x, joining in sorted(by_gap.items()):
        lowest = max(joining, key=lambda route: route[0][1])
        lines.append(_rounded([*lowest[:2], (x, OVER + 1)]))
        lines += [_rounded(route[:2]) for route in joining if route is not lowest]
    trunk = next(route for route in routes if route[1][0] == min(by_gap))
    lines.append(_rounded(trunk[2:]))
    return Strand(" ".join(lines), _head(trunk), taken=False)


class _Grid:
    """Where everything stands, and how lines get from box to box without crossing a third."""

    def __init__(self, map_: Map, strangers: tuple[Place, ...]) -> None:
        self.map = map_
        self.strangers = strangers
        self.under = TOP + PITCH * max(p.row for p in map_.places.values() if not p.small) + HEIGHT + 18
        lowest = max(self._y(place) + self._height(place) for place in map_.places.values())
        self.bottom = max(self.under, lowest) + MARGIN
        placed = [(place, self._y(place)) for place in map_.places.values()]
        placed += [(place, self.bottom + 42) for place in strangers]
        self.boxes = {
            place.name: Box(place, State.REACHABLE, self.left(place.column), y, self._height(place))
            for place, y in placed
        }

    def left(self, column: int) -> float:
        return MARGIN + column * (WIDTH + GAP) + (CUT_GAP - GAP if column > self.map.cut else 0)

    def route(self, way: Way) -> list[Point]:
        """The corners of the line from one box to another, the last one at the tip of the arrow."""
        a, b = self.boxes[way[0]], self.boxes[way[1]]
        columns = b.place.column - a.place.column
        if a is b:
            return [
                (a.right, a.y + 10),
                (a.right + 14, a.y + 10),
                (a.right + 14, a.y + 26),
                (a.right, a.y + 26),
            ]
        if way[1] == "cancelled":
            return self._through(a, b, OVER, UP)
        if columns == 0:
            return self._vertical(a, b)
        if {a.place.name, b.place.name} & {place.name for place in self.strangers}:
            return self._through(a, b, self.under, DOWN)
        return self._sideways(a, b) or self._through(a, b, self.under, DOWN)

    def _vertical(self, a: Box, b: Box) -> list[Point]:
        """Straight to a neighbour above or below; around whatever stands between."""
        between = [
            box
            for box in self.boxes.values()
            if box.place.column == a.place.column and min(a.y, b.y) < box.y < max(a.y, b.y)
        ]
        if between:
            x = a.right + DOWN
            y = b.y + 14  # apart from where b's own lines leave
            return [(a.right, a.middle), (x, a.middle), (x, y), (b.right, y)]
        down = b.y > a.y
        x = a.x + SPINE + (0 if not self._both(a, b) else 10 if down else -10)
        return [(x, a.y + a.height), (x, b.y)] if down else [(x, a.y), (x, b.y + b.height)]

    def _sideways(self, a: Box, b: Box) -> list[Point] | None:
        """Along the row of one of the two, if it is clear; a way back leaves on the left."""
        forth = b.place.column > a.place.column
        apart = (-9 if forth else 9) if self._both(a, b) else 0
        start, end = (a.right, b.x) if forth else (a.x, b.right)
        y1, y2 = a.middle + apart, b.middle + apart
        near, far = (start + MIDDLE, end - BEFORE) if forth else (start - MIDDLE, end + BEFORE)
        between = [box for box in self.boxes.values() if self._stands_between(box, a, b)]
        for x, y in ((near, y2), (far, y1)):
            if all(abs(box.middle - y) > box.height / 2 + 6 for box in between):
                return [(start, y1), (end, y2)] if y1 == y2 else [(start, y1), (x, y1), (x, y2), (end, y2)]
        return None

    def _through(self, a: Box, b: Box, channel: float, track: float) -> list[Point]:
        leave, enter = a.right + track, b.x - BEFORE
        return [
            (a.right, a.middle),
            (leave, a.middle),
            (leave, channel),
            (enter, channel),
            (enter, b.middle),
            (b.x, b.middle),
        ]

    def _both(self, a: Box, b: Box) -> bool:
        return (b.place.name, a.place.name) in self.map.ways and (a.place.name, b.place.name) in self.map.ways

    @staticmethod
    def _stands_between(box: Box, a: Box, b: Box) -> bool:
        low, high = sorted((a.place.column, b.place.column))
        return low < box.place.column < high

    @staticmethod
    def _height(place: Place) -> float:
        return SMALL if place.small else HEIGHT

    def _y(self, place: Place) -> float:
        return TOP + place.row * PITCH + (HEIGHT - self._height(place)) / 2


def _rounded(points: list[Point], radius: float = 9) -> str:
    """A path through these corners, each rounded."""
    start, *rest = points
    path = [f"M{start[0]:g} {start[1]:g}"]
    for before, corner, after in zip(points, rest, rest[1:], strict=False):
        reach = min(radius, _distance(before, corner) / 2, _distance(corner, after) / 2)
        near, far = _towards(corner, before, reach), _towards(corner, after, reach)
        path.append(f"L{near[0]:g} {near[1]:g}Q{corner[0]:g} {corner[1]:g} {far[0]:g} {far[1]:g}")
    path.append(f"L{points[-1][0]:g} {points[-1][1]:g}")
    return "".join(path)


def _head(points: list[Point]) -> str:
    (x1, y1), (x2, y2) = points[-2:]
    angle = {(1, 0): 0, (-1, 0): 180, (0, 1): 90, (0, -1): 270}[_sign(x2 - x1), _sign(y2 - y1)]
    return f"translate({x2:g} {y2:g}) rotate({angle})"


def _middle_of_longest(points: list[Point]) -> Point:
    (x1, y1), (x2, y2) = max(pairwise(points), key=lambda pair: _distance(*pair))
    return ((x1 + x2) / 2, (y1 + y2) / 2)


def _distance(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])  # lines run straight along one axis


def _towards(a: Point, b: Point, length: float) -> Point:
    return (a[0] + length * _sign(b[0] - a[0]), a[1] + length * _sign(b[1] - a[1]))


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
