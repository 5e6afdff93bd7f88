"""Sets of instants: the answer to *when*, with "possibly" as a third answer. Times are aware UTC datetimes.

A `Finite` set is a list of spans; whatever repeats daily stays lazy and is asked for its next span only.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import Enum
from functools import lru_cache, reduce
from operator import and_, or_
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from workers.core.calendar import ONE_DAY, wall

# More than a year, so that a search meets every weekday, holiday and clock change before it gives up.
HORIZON = timedelta(days=400)


class Span(NamedTuple):
    """From `start` until just before `end`; None is unbounded."""

    start: datetime | None
    end: datetime | None

    def __bool__(self) -> bool:
        return self.start is None or self.end is None or self.start < self.end

    def __and__(self, other: "Span") -> "Span":
        start, end = self.start, self.end
        if start is None or (other.start is not None and other.start > start):
            start = other.start
        if end is None or (other.end is not None and other.end < end):
            end = other.end
        return Span(start, end)


class Spans(ABC):
    """A set of instants, made of spans. Ask it for the next one; combine it with `&`, `|` and `~`."""

    __slots__ = ()

    @staticmethod
    def never() -> "Spans":
        return NEVER

    @staticmethod
    def always() -> "Spans":
        return ALWAYS

    @staticmethod
    def of(*spans: Span) -> "Spans":
        """The union of any spans; empty ones add nothing."""
        return reduce(or_, (Finite((span,)) for span in spans if span), Spans.never())

    @staticmethod
    def since(t: datetime) -> "Spans":
        return Finite((Span(t, None),))

    @staticmethod
    def until(t: datetime) -> "Spans":
        """Everything before `t`."""
        return Finite((Span(None, t),))

    @staticmethod
    def between(a: datetime, b: datetime) -> "Spans":
        """From `a` until just before `b`; nothing if `b` is not later."""
        return Finite((Span(a, b),)) if a < b else NEVER

    @abstractmethod
    def next(self, t: datetime) -> Span | None:
        """The earliest span that reaches beyond `t`, cut to start no earlier than `t`.

        What touches it may come as another span. None: nothing more, or nothing within the horizon.
        """

    @property
    @abstractmethod
    def edges(self) -> frozenset[datetime]:
        """Where a finite part begins or ends. Between two edges the set merely repeats."""

    def __and__(self, other: "Spans") -> "Spans":
        # Most of what a plan intersects is one of these two; the rest of the work is saved.
        if self is ALWAYS or other is NEVER:
            return other
        if self is NEVER or other is ALWAYS:
            return self
        return self._meet(other)

    def _meet(self, other: "Spans") -> "Spans":
        return And.joining(self, other)

    def __or__(self, other: "Spans") -> "Spans":
        if self is NEVER or other is ALWAYS:
            return other
        if self is ALWAYS or other is NEVER:
            return self
        return ~(~self & ~other)

    def __invert__(self) -> "Spans":
        return Not(self)

    def __contains__(self, t: datetime) -> bool:
        return self.first(t) == t

    def first(self, t: datetime) -> datetime | None:
        """The first instant of the set at or after `t`."""
        span = self.next(t)
        return span.start if span else None

    def end_of(self, t: datetime) -> datetime | None:
        """Where the unbroken stretch around `t` ends: None if never, `t` itself if it is not in the set."""
        at: datetime | None = t
        while at and (span := self.next(at)) and span.start == at:
            at = span.end and self._onward(t, span.end)
        return at

    def _onward(self, began: datetime, t: datetime) -> datetime | None:
        """Where a search that `began` earlier goes on from `t`.

        That is `t`, or the next edge once nothing but repetition has been met for a whole horizon, if any.
        """
        if t - began <= HORIZON:
            return t
        if any(t - HORIZON <= edge <= t for edge in self.edges):
            return t
        return min((edge for edge in self.edges if edge > t), default=None)


@dataclass(frozen=True, slots=True)
class Finite(Spans):
    """Spans in order, none of them empty, no two of them touching; `Spans.of` makes one from any spans."""

    spans: tuple[Span, ...]

    def next(self, t: datetime) -> Span | None:
        for span in self.spans:
            if span.end is None or span.end > t:
                return span & Span(t, None)
        return None

    @property
    def edges(self) -> frozenset[datetime]:
        return frozenset(edge for span in self.spans for edge in (span.start, span.end) if edge)

    def _meet(self, other: Spans) -> Spans:
        if not isinstance(other, Finite):
            return And.joining(self, other)
        spans = tuple(both for mine in self.spans for its in other.spans if (both := mine & its))
        return Finite(spans) if spans else NEVER

    def __invert__(self) -> Spans:
        if not self.spans:
            return Spans.always()
        ends = (None, *(span.end for span in self.spans))
        starts = (*(span.start for span in self.spans), None)
        # Unbounded on both sides is what remains beyond a span that is itself unbounded there: nothing.
        gaps = tuple(Span(end, start) for end, start in zip(ends, starts, strict=True) if end or start)
        return Finite(gaps) if gaps else NEVER


NEVER: Spans = Finite(())
ALWAYS: Spans = Finite((Span(None, None),))


def every_day(day: date) -> bool:
    """Says yes to every day."""
    return True


@dataclass(frozen=True, slots=True)
class Daily(Spans):
    """From `opens` until just before `closes` by the clocks of one zone, on each day that `on` admits.

    Closing no later than opening means on the following day. For the hours of a clock change see `wall`;
    a window that it turns round is left out that day.
    """

    opens: time
    closes: time
    zone: ZoneInfo
    on: Callable[[date], bool] = every_day

    def next(self, t: datetime) -> Span | None:
        today = t.astimezone(self.zone).date()
        for ahead in range(-1, HORIZON.days):  # yesterday's window may last into today
            day = today + timedelta(days=ahead)
            if self.on(day) and (rest := _window(self.opens, self.closes, self.zone, day) & Span(t, None)):
                return rest
        return None

    @property
    def edges(self) -> frozenset[datetime]:
        return frozenset()


@lru_cache(maxsize=16_384)  # the days of some years in a handful of zones: many orders ask for the same ones
def _window(opens: time, closes: time, zone: ZoneInfo, day: date) -> Span:
    last_day = day if opens < closes else day + ONE_DAY
    return Span(wall(zone, day, opens), wall(zone, last_day, closes))


@dataclass(frozen=True, slots=True)
class Lazy(Spans):
    """A set computed from others; it keeps its last answer.

    Searches move forward only, so a search within a search goes on where it was instead of starting over.
    """

    _answered: list[tuple[datetime, Span | None]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def next(self, t: datetime) -> Span | None:
        for asked, answer in self._answered:
            if asked <= t and (answer is None or answer.end is None or t < answer.end):
                return answer and answer & Span(t, None)
        answer = self._search(t)
        self._answered[:] = [(t, answer)]
        return answer

    @abstractmethod
    def _search(self, t: datetime) -> Span | None:
        """What `next` is to answer."""


@dataclass(frozen=True, slots=True)
class And(Lazy):
    """What all members have in common, found by leaping to the latest of their starts until they meet."""

    members: tuple[Spans, ...]

    @classmethod
    def joining(cls, *sets: Spans) -> Self:
        return cls(
            tuple(part for each in sets for part in (each.members if isinstance(each, And) else (each,)))
        )

    def _search(self, t: datetime) -> Span | None:
        at: datetime | None = t
        while at:
            common = Span(at, None)
            for member in self.members:
                piece = member.next(common.start or at)
                if piece is None:
                    return None
                common &= piece
            if common:
                return common
            at = common.start and self._onward(t, common.start)
        return None

    @property
    def edges(self) -> frozenset[datetime]:
        return frozenset().union(*(member.edges for member in self.members))


@dataclass(frozen=True, slots=True)
class Not(Lazy):
    """Every instant that `inner` does not hold."""

    inner: Spans

    def _search(self, t: datetime) -> Span | None:
        start = self.inner.end_of(t)
        return Span(start, self.inner.first(start)) if start else None

    @property
    def edges(self) -> frozenset[datetime]:
        return self.inner.edges

    def __invert__(self) -> Spans:
        return self.inner


def daily_window(
    from_: time, to: time, zones: Iterable[str], days: Callable[[date], bool] = every_day
) -> Spans:
    """When the clocks of all `zones` at once stand in [from_, to), on days that `days` admits there.

    ValueError without zones: nowhere must not mean at any time. Where a patient's state is unknown, say
    `calendar.EVERY_US_ZONE`.
    """
    return _daily_window(from_, to, frozenset(zones), days)


@lru_cache
def _daily_window(from_: time, to: time, zones: frozenset[str], days: Callable[[date], bool]) -> Spans:
    windows = [Daily(from_, to, ZoneInfo(zone), days) for zone in sorted(zones)]
    if not windows:
        raise ValueError("a daily window needs at least one zone")
    return reduce(and_, windows)


class Truth(Enum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Instants(NamedTuple):
    """When something is surely true, and when it is possibly true; `yes` must lie within `maybe`."""

    yes: Spans
    maybe: Spans

    @staticmethod
    def known(spans: Spans) -> "Instants":
        """True in `spans`, false outside."""
        return Instants(spans, spans)

    @staticmethod
    def given(holds: bool) -> "Instants":
        """Always or never: what time does not change."""
        return _ALWAYS if holds else _NEVER

    @staticmethod
    def always() -> "Instants":
        return _ALWAYS

    @staticmethod
    def never() -> "Instants":
        return _NEVER

    @staticmethod
    def unknown() -> "Instants":
        return _UNKNOWN

    @property
    def certain(self) -> bool:
        """Nothing about it is unknown; then one set does for both."""
        return self.yes is self.maybe

    def __and__(self, other: "Instants") -> "Instants":
        if other is _ALWAYS or self is _NEVER:
            return self
        if self is _ALWAYS or other is _NEVER:
            return other
        if self.certain and other.certain:
            both = self.yes & other.yes
            return self if both is self.yes else Instants(both, both)
        return Instants(self.yes & other.yes, self.maybe & other.maybe)

    def __or__(self, other: "Instants") -> "Instants":
        if other is _NEVER or self is _ALWAYS:
            return self
        if self is _NEVER or other is _ALWAYS:
            return other
        if self.certain and other.certain:
            return Instants.known(self.yes | other.yes)
        return Instants(self.yes | other.yes, self.maybe | other.maybe)

    def __invert__(self) -> "Instants":
        return Instants.known(~self.yes) if self.certain else Instants(~self.maybe, ~self.yes)

    def at(self, t: datetime) -> Truth:
        if t in self.yes:
            return Truth.YES
        return Truth.UNKNOWN if t in self.maybe else Truth.NO


_ALWAYS, _NEVER = Instants(ALWAYS, ALWAYS), Instants(NEVER, NEVER)
_UNKNOWN = Instants(NEVER, ALWAYS)


def all_of(conditions: Iterable[Instants]) -> Instants:
    """When every condition holds; always, if there are none. Asks no further once that can never be."""
    found = _ALWAYS
    for condition in conditions:
        if condition is not _ALWAYS:  # as most of a plan's members are
            found &= condition
            if found.maybe is NEVER:
                break
    return found


def any_of(conditions: Iterable[Instants]) -> Instants:
    """When at least one condition holds; never, if there are none."""
    return reduce(or_, conditions, Instants.never())
