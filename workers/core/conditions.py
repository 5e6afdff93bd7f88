"""The conditions a rule can have. Each is one class that answers *when* it holds; a new one is a class here.

A field's annotation says its type and its meaning; policy reader, schema and `words` are all made from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date, datetime, time
from functools import cached_property
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from workers.core.anchors import Anchor, NoTime
from workers.core.calendar import EVERY_US_ZONE, Duration, wall
from workers.core.case import Case, Scope, Sibling
from workers.core.instants import Instants, Spans, Truth, all_of, any_of, daily_window
from workers.core.order import Appointment, NoAppointment
from workers.core.status import KNOWN_NAMES, Entry, Method
from workers.core.status import entry as catalogue_entry
from workers.core.words import Clock, Word, Zone

CONDITIONS: dict[str, type[Condition]] = {}


class StatusName(Word):
    """A low-level status, in either of Junction's spellings."""

    words: ClassVar[tuple[str, ...]] = tuple(sorted(KNOWN_NAMES))


@dataclass(frozen=True)
class Condition(ABC):
    """A set of instants described in words. Subclasses name themselves: `class X(Condition, key="x")`."""

    key: ClassVar[str]

    def __init_subclass__(cls, key: str = "") -> None:
        if key:
            cls.key = key
            CONDITIONS[key] = cls

    @abstractmethod
    def instants(self, case: Case) -> Instants:
        """When this holds for the case, as things are known at `case.now`."""

    @abstractmethod
    def actual(self, case: Case) -> str:
        """What is the case instead of, or as, expected; in words, without any personal data."""

    def admits(self, entry: Entry) -> bool:
        """Whether it may hold at all while an order is in this status."""
        return True

    def missing_facts(self) -> frozenset[str]:
        """Settings (`birth_date`, `state`, `passthrough`) that must allow a fact for this to have sense."""
        return frozenset()

    def parts(self) -> tuple[Condition, ...]:
        return ()

    def walk(self) -> Iterator[Condition]:
        yield self
        for part in self.parts():
            yield from part.walk()

    def __str__(self) -> str:
        said = (
            f"{field.name.rstrip('_')} {_plain(value)}"
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        )
        return f"{self.key} {', '.join(said)}"


# --- about the order's own history -----------------------------------------------------------------------


@dataclass(frozen=True)
class InStatus(Condition, key="status"):
    """The order is in one of these statuses and has been, without a break, for a time."""

    in_: Annotated[tuple[StatusName, ...], "the low-level statuses, any of which counts"]
    for_: Annotated[Duration | None, "how long the unbroken stay must have lasted; 0 when left out"] = None

    def names(self, method: Method | None) -> frozenset[str]:
        return self._names[method]

    @cached_property
    def _names(self) -> dict[Method | None, frozenset[str]]:
        """In the spelling of each method's catalogue, and only those that the method knows."""
        return {
            method: frozenset(e.name for name in self.in_ if (e := catalogue_entry(method, str(name))))
            for method in (*Method, None)
        }

    def admits(self, entry: Entry) -> bool:
        return entry.name in self.names(entry.method)

    def instants(self, case: Case) -> Instants:
        if case.order.entry is None:
            return Instants.unknown()
        stay = case.order.history.stay(self.names(case.order.method))
        if stay is None:
            return Instants.never()
        began = max(stay.at, case.activated_at or stay.at)
        return Instants.known(Spans.since(case.calendar.add(began, self.for_) if self.for_ else began))

    def actual(self, case: Case) -> str:
        last = case.order.last
        if last is None:
            return "no status yet"
        stay = case.order.history.stay(self.names(case.order.method)) or case.order.history.stay(
            frozenset({last.status.name})
        )
        known = "" if case.order.entry else " (not in the catalogue)"
        return f"{last.status.name}{known} since {_time(stay.at if stay else last.at)}"


@dataclass(frozen=True)
class Seen(Condition, key="seen"):
    """A status was seen in the history a number of times; events of our own making do not count."""

    status: Annotated[StatusName, "the low-level status"]
    at_least: Annotated[int, "how many times"] = 1

    def count(self, case: Case) -> int:
        found = catalogue_entry(case.order.method, str(self.status))
        name = found.name if found else str(self.status)
        return sum(event.id not in case.own_events for event in case.order.history.seen(name))

    def instants(self, case: Case) -> Instants:
        return Instants.given(self.count(case) >= self.at_least)

    def actual(self, case: Case) -> str:
        return f"seen {self.count(case)} times"


@dataclass(frozen=True)
class Kit(Condition, key="kit"):
    """Whether the kit has left the warehouse, by the whole history and the outbound tracking number."""

    left_warehouse: Annotated[bool, "true: it has; false: nothing shows that it has"]

    def instants(self, case: Case) -> Instants:
        if case.order.has_shipped:
            return Instants.given(self.left_warehouse)
        return Instants.unknown() if case.order.history.strange else Instants.given(not self.left_warehouse)

    def actual(self, case: Case) -> str:
        shipped = case.order.history.shipped
        if shipped is not None:
            return f"{shipped.status.name} at {_time(shipped.at)}"
        if case.order.facts.outbound_tracking:
            return "it has an outbound tracking number"
        return "no shipping event" + (", but an unknown status" if case.order.history.strange else "")


@dataclass(frozen=True)
class OfOrder(Condition, key="order"):
    """Fields of the order; every one that is given must match."""

    origin: Annotated[tuple[Word, ...] | None, "initial, redraw, recreation"] = None
    lab_test: Annotated[tuple[Word, ...] | None, "ids or slugs of lab tests"] = None
    passthrough_contains: Annotated[str | None, "text that `passthrough` contains"] = None

    def instants(self, case: Case) -> Instants:
        facts = case.order.facts
        holds = (
            (self.origin is None or facts.origin in set(map(str, self.origin)))
            and (
                self.lab_test is None
                or bool({facts.lab_test_id, facts.lab_test_slug} & set(map(str, self.lab_test)))
            )
            and (self.passthrough_contains is None or self.passthrough_contains in (facts.passthrough or ""))
        )
        return Instants.given(holds)

    def missing_facts(self) -> frozenset[str]:
        return frozenset({"passthrough"} if self.passthrough_contains is not None else ())

    def actual(self, case: Case) -> str:
        facts = case.order.facts
        said = []
        if self.origin is not None:
            said.append(f"origin is {facts.origin or 'not given'}")
        if self.lab_test is not None:
            said.append(f"lab test is {facts.lab_test_slug or facts.lab_test_id or 'not given'}")
        if self.passthrough_contains is not None:  # never the text itself: it is the platform's
            said.append(
                "passthrough has it"
                if self.passthrough_contains in (facts.passthrough or "")
                else "no such passthrough"
            )
        return ", ".join(said)


# --- about time ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Elapsed(Condition, key="elapsed"):
    """Some time has passed since an anchor: from `at_least` after it until `at_most` after it."""

    since: Annotated[Anchor, "the instant to measure from"]
    at_least: Annotated[Duration | None, "holds from this long after"] = None
    at_most: Annotated[Duration | None, "holds until this long after"] = None

    def instants(self, case: Case) -> Instants:
        match self.since.at(case):
            case NoTime.NEVER:
                return Instants.never()
            case NoTime.UNKNOWN:
                return Instants.unknown()
            case at:
                add = case.calendar.add
                begin = add(at, self.at_least) if self.at_least else at
                spans = Spans.between(begin, add(at, self.at_most)) if self.at_most else Spans.since(begin)
                return Instants.known(spans)

    def actual(self, case: Case) -> str:
        return _anchored(self.since, case)


@dataclass(frozen=True)
class Remaining(Condition, key="remaining"):
    """An anchor is near: from `at_most` before it until `at_least` before it."""

    until: Annotated[Anchor, "the instant to measure to"]
    at_least: Annotated[Duration | None, "holds until this long before"] = None
    at_most: Annotated[Duration | None, "holds from this long before"] = None

    def instants(self, case: Case) -> Instants:
        match self.until.at(case):
            case NoTime.NEVER:
                return Instants.never()
            case NoTime.UNKNOWN:
                return Instants.unknown()
            case at:
                subtract = case.calendar.subtract
                end = subtract(at, self.at_least) if self.at_least else at
                spans = Spans.between(subtract(at, self.at_most), end) if self.at_most else Spans.until(end)
                return Instants.known(spans)

    def actual(self, case: Case) -> str:
        return _anchored(self.until, case)


@dataclass(frozen=True)
class DailyClock(Condition, key="clock"):
    """A daily window by the clock, from `from` until just before `to`."""

    from_: Annotated[Clock, "opens at"]
    to: Annotated[Clock, "closes at; no later than `from` means on the next day"]
    days: Annotated[Literal["all", "workdays"], "on which days it opens"] = "all"
    zone: Annotated[Zone | None, "an IANA zone, or `patient`; time.zone when left out"] = None

    def window(self, case: Case) -> Spans:
        zones = _zones(self.zone, case)
        if self.days == "workdays":
            return daily_window(self.from_.time, self.to.time, zones, case.calendar.is_workday)
        return daily_window(self.from_.time, self.to.time, zones)

    def instants(self, case: Case) -> Instants:
        window = self.window(case)
        if self.zone is not None and self.zone.is_patient and not case.order.facts.zones:
            return Instants(yes=window, maybe=Spans.always())
        return Instants.known(window)

    def actual(self, case: Case) -> str:
        zones = _zones(self.zone, case)
        if len(zones) > 3:
            return "the patient's zone is not known"
        return ", ".join(f"{case.now.astimezone(ZoneInfo(zone)):%H:%M} in {zone}" for zone in sorted(zones))


# --- about the appointment -------------------------------------------------------------------------------


class AppointmentStatus(Word):
    """What the active appointment can be; `none` when there is none."""

    words: ClassVar[tuple[str, ...]] = (
        "none", "pending", "reserved", "confirmed", "in_progress", "completed", "cancelled",
    )  # fmt: skip


@dataclass(frozen=True)
class OfAppointment(Condition, key="appointment"):
    """The status of the active appointment."""

    is_: Annotated[tuple[AppointmentStatus, ...], "any of these counts"]

    def instants(self, case: Case) -> Instants:
        wanted = set(map(str, self.is_))
        match case.order.appointment:
            case NoAppointment.UNKNOWN:
                return Instants.unknown()
            case NoAppointment.NONE:
                return Instants.given("none" in wanted)
            case Appointment(status=status):
                return Instants.given(status in wanted)

    def actual(self, case: Case) -> str:
        match case.order.appointment:
            case Appointment() as found:
                return found.status + (f", starts {_time(found.start)}" if found.start else "")
            case nothing:
                return nothing.value


# --- about what the platform says ------------------------------------------------------------------------


@dataclass(frozen=True)
class SignalStands(Condition, key="signal"):
    """The platform posted a signal and has not retracted it."""

    name: Annotated[str, "the signal's name"]
    on: Annotated[Literal["order", "user"], "whether it was posted on the order or on its user"] = "order"
    for_: Annotated[Duration | None, "how long it must have stood; 0 when left out"] = None

    def instants(self, case: Case) -> Instants:
        at = case.signal(self.name, self.on)
        if at is None:
            return Instants.never()
        return Instants.known(Spans.since(case.calendar.add(at, self.for_) if self.for_ else at))

    def actual(self, case: Case) -> str:
        at = case.signal(self.name, self.on)
        return f"posted {_time(at)}" if at else "not posted"


@dataclass(frozen=True)
class Labelled(Condition, key="label"):
    """The order or its user carries one of these labels."""

    any_of: Annotated[tuple[str, ...], "any of these counts"]
    on: Annotated[Literal["order", "user"], "whose label"] = "order"

    def instants(self, case: Case) -> Instants:
        if case.labels is None:
            return Instants.unknown()
        scope: Scope = self.on
        return Instants.given(any((scope, label) in case.labels for label in self.any_of))

    def actual(self, case: Case) -> str:
        if case.labels is None:
            return "labels could not be read"
        found = sorted(label for scope, label in case.labels if scope == self.on)
        return f"labels: {', '.join(found)}" if found else "no labels"


@dataclass(frozen=True)
class Patient(Condition, key="patient"):
    """Facts of the patient, kept only where the settings allow; every one that is given must match."""

    age_below: Annotated[int | None, "years; holds until that birthday begins in time.zone"] = None
    state_in: Annotated[tuple[Word, ...] | None, "two-letter states"] = None
    has_medical_proxy: Annotated[bool | None, "whether the order names a medical proxy"] = None

    def instants(self, case: Case) -> Instants:
        facts = case.order.facts
        found = []
        if self.age_below is not None:
            found.append(
                Instants.known(
                    Spans.until(wall(case.calendar.zone, _birthday(facts.birth_date, self.age_below), time()))
                )
                if facts.birth_date
                else Instants.unknown()
            )
        if self.state_in is not None:
            found.append(_known_in(facts.state, {str(state) for state in self.state_in}))
        if self.has_medical_proxy is not None:
            found.append(_known_in(facts.has_medical_proxy, {self.has_medical_proxy}))
        return all_of(found)

    def missing_facts(self) -> frozenset[str]:
        needs = set()
        if self.age_below is not None or self.has_medical_proxy is not None:
            needs.add("birth_date")
        if self.state_in is not None:
            needs.add("state")
        return frozenset(needs)

    def actual(self, case: Case) -> str:
        match self.instants(case).at(case.now):  # the facts themselves stay out of records
            case Truth.YES:
                return "it is so"
            case Truth.NO:
                return "it is not so"
            case Truth.UNKNOWN:
                return "not kept, or absent"


# --- about other orders ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Duplicate(Condition, key="duplicate"):
    """Another open order of the same user and test ranks better. The ranking is total, so of any set exactly
    one order is never a duplicate."""

    within: Annotated[Duration, "how far apart the two orders may have been placed"]
    same: Annotated[tuple[Literal["user", "lab_test"], ...], "what makes two orders alike"] = (
        "user",
        "lab_test",
    )
    keep: Annotated[Literal["furthest_along", "first", "last"], "which one of a set lives"] = "furthest_along"

    def instants(self, case: Case) -> Instants:
        found = self.better(case)
        if found is None or (found and not any(other.seen for other in found)):
            return Instants.unknown()
        return Instants.given(bool(found))

    def better(self, case: Case) -> tuple[Sibling, ...] | None:
        """The orders that this one would give way to, the best first; None when that cannot be told."""
        order = case.order
        if (
            case.siblings is None
            or order.entry is None
            or order.created_at is None
            or order.facts.user_id is None
        ):
            return None
        me = Sibling(order.id, order.facts.lab_test_id, order.created_at, order.entry.progress)
        alike = [other for other in case.siblings if self._alike(me, other, case)]
        if any(other.created_at is None or other.progress is None for other in alike):
            return None
        better = (other for other in alike if self._rank(other) > self._rank(me))
        return tuple(sorted(better, key=self._rank, reverse=True))

    def _alike(self, me: Sibling, other: Sibling, case: Case) -> bool:
        if "lab_test" in self.same and me.lab_test_id != other.lab_test_id:
            return False
        if me.created_at is None or other.created_at is None:
            return True
        earlier, later = sorted((me.created_at, other.created_at))
        return later <= case.calendar.add(earlier, self.within)

    def _rank(self, order: Sibling) -> tuple[float, float, str]:
        created = order.created_at.timestamp() if order.created_at else 0.0
        match self.keep:
            case "furthest_along":
                return (order.progress or 0, -created, order.id)
            case "first":
                return (0, -created, order.id)
            case "last":
                return (0, created, order.id)

    def actual(self, case: Case) -> str:
        found = self.better(case)
        if found is None:
            return "its siblings are not known"
        return f"order {found[0].id} ranks better" if found else "no other order ranks better"


# --- put together ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AllOf(Condition, key="all"):
    """Every one of these holds."""

    conditions: tuple[Condition, ...]

    def instants(self, case: Case) -> Instants:
        return all_of(part.instants(case) for part in self.conditions)

    def admits(self, entry: Entry) -> bool:
        return all(part.admits(entry) for part in self.conditions)

    def parts(self) -> tuple[Condition, ...]:
        return self.conditions

    def actual(self, case: Case) -> str:
        return ""

    def __str__(self) -> str:
        return "all of"


@dataclass(frozen=True)
class AnyOf(Condition, key="any"):
    """At least one of these holds."""

    conditions: tuple[Condition, ...]

    def instants(self, case: Case) -> Instants:
        return any_of(part.instants(case) for part in self.conditions)

    def admits(self, entry: Entry) -> bool:
        return any(part.admits(entry) for part in self.conditions)

    def parts(self) -> tuple[Condition, ...]:
        return self.conditions

    def actual(self, case: Case) -> str:
        return ""

    def __str__(self) -> str:
        return "any of"


@dataclass(frozen=True)
class Negated(Condition, key="not"):
    """This does not hold."""

    condition: Condition

    def instants(self, case: Case) -> Instants:
        return ~self.condition.instants(case)

    def parts(self) -> tuple[Condition, ...]:
        return (self.condition,)

    def actual(self, case: Case) -> str:
        return ""

    def __str__(self) -> str:
        return "not"


# --- small helpers ---------------------------------------------------------------------------------------


def _known_in(fact: object, wanted: set[object] | set[str] | set[bool]) -> Instants:
    return Instants.unknown() if fact is None else Instants.given(fact in wanted)


def _birthday(born: date, years: int) -> date:
    try:
        return born.replace(year=born.year + years)
    except ValueError:  # 29 February in a common year: the day after, so that nobody is too old too early
        return date(born.year + years, 3, 1)


def _zones(zone: Zone | None, case: Case) -> frozenset[str]:
    if zone is None:
        return frozenset({case.calendar.zone.key})
    if zone.is_patient:
        return frozenset(case.order.facts.zones) or EVERY_US_ZONE
    return frozenset({str(zone)})


def _anchored(anchor: Anchor, case: Case) -> str:
    match anchor.at(case):
        case NoTime() as none:
            return f"{anchor} {none.value}"
        case at:
            return f"{anchor} is {_time(at)}"


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else "at an unknown time"


def _plain(value: object) -> str:
    """As a policy spells it."""
    match value:
        case tuple():
            return f"[{', '.join(map(str, value))}]"
        case bool():
            return str(value).lower()
        case _:
            return str(value)
