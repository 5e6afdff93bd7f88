"""An order as far as we know it: its history, its facts, its appointments, and how pieces of news merge.

Reading Junction's JSON is events.py; storing is the store's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import Enum
from functools import cached_property

from workers.core.history import Event, History
from workers.core.status import APPOINTMENT_KIND, APPOINTMENT_NAMES, Entry, Method, Status

APPOINTMENT_STATUSES = ("pending", "reserved", "confirmed", "in_progress", "completed", "cancelled")
WAITING = frozenset({"pending", "reserved", "confirmed"})
PSC, HOME_VISIT = "patient_service_center", "phlebotomy"

# Providers whose slots the API can cancel. Sonora Quest's it cannot; a new provider's we do not know.
CANCELLABLE_PROVIDERS = {PSC: frozenset({"quest"}), HOME_VISIT: frozenset({"getlabs", "phlebfinders"})}


@dataclass(frozen=True, slots=True)
class Appointment:
    """One appointment. `changed_at` is its newest event, `observed_at` when this picture of it was taken."""

    id: str
    order_id: str
    kind: str  # patient_service_center or phlebotomy; any other text is unknown to us
    provider: str | None
    status: str
    start: datetime | None
    end: datetime | None
    zone: str | None
    booked_at: datetime | None
    changed_at: datetime
    observed_at: datetime

    @property
    def known(self) -> bool:
        return self.status in APPOINTMENT_STATUSES and self.kind in CANCELLABLE_PROVIDERS

    @property
    def cancellable_provider(self) -> bool:
        return self.provider in CANCELLABLE_PROVIDERS.get(self.kind, frozenset())

    @property
    def newness(self) -> tuple[datetime, datetime, str]:
        return (self.changed_at, self.observed_at, repr(self))


class NoAppointment(Enum):
    """There is none to speak of: surely, or as far as anybody could tell."""

    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """What one picture of an order says beside its events. The newest picture wins as a whole."""

    updated_at: datetime
    observed_at: datetime
    methods: frozenset[str] = frozenset()  # details.type and lab_test.method, as far as present
    team_id: str | None = None
    user_id: str | None = None
    user_hash: str | None = None
    created_at: datetime | None = None
    activate_by: date | None = None
    origin: str | None = None
    lab_test_id: str | None = None
    lab_test_slug: str | None = None
    price: float | None = None
    transaction_id: str | None = None
    outbound_tracking: bool = False
    unreadable_events: int = 0  # events without a usable id, time or status: they may have been anything
    zones: tuple[str, ...] = ()
    birth_date: date | None = None
    state: str | None = None
    has_medical_proxy: bool | None = None
    passthrough: str | None = None

    @property
    def taken(self) -> tuple[datetime, datetime]:
        return (self.updated_at, self.observed_at)

    @property
    def text(self) -> str:
        """Settles two pictures of one instant the same way whichever came first; a tracking number that
        came along with a merge must not tip it."""
        return repr((replace(self, methods=frozenset(), outbound_tracking=False), sorted(self.methods)))

    def merged(self, other: Facts) -> Facts:
        """The newer picture. A tracking number, once seen, stays seen; so does the hash of the platform's
        own user id, which webhooks tell and the API does not."""
        if self.taken == other.taken:
            newer = max(self, other, key=lambda facts: facts.text)
        else:
            newer = max(self, other, key=lambda facts: facts.taken)
        return replace(
            newer,
            outbound_tracking=self.outbound_tracking or other.outbound_tracking,
            user_hash=max(filter(None, (self.user_hash, other.user_hash)), default=None),
        )


_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
NOTHING_KNOWN = Facts(updated_at=_LONG_AGO, observed_at=_LONG_AGO)  # any picture is newer


@dataclass(frozen=True)
class Order:
    """One order: the union of all its events, the newest facts, its appointments by id."""

    id: str
    facts: Facts
    history: History = field(default_factory=History)
    appointments: tuple[Appointment, ...] = ()
    appointment_missing: datetime | None = None  # when a GET last said there is none

    def merged(self, other: Order) -> Order:
        """Both pieces of news about one order. Commutative, associative and idempotent."""
        if self.id != other.id:
            raise ValueError(f"news of order {other.id} cannot be merged into {self.id}")
        newest: dict[str, Appointment] = {}
        for appointment in (*self.appointments, *other.appointments):
            known = newest.get(appointment.id)
            if known is None or appointment.newness > known.newness:
                newest[appointment.id] = appointment
        missing = [t for t in (self.appointment_missing, other.appointment_missing) if t is not None]
        return Order(
            id=self.id,
            facts=self.facts.merged(other.facts),
            history=self.history.merged(other.history),
            appointments=tuple(sorted(newest.values(), key=lambda a: a.newness)),
            appointment_missing=max(missing, default=None),
        )

    @property
    def last(self) -> Event | None:
        return self.history.last

    @property
    def status(self) -> Status | None:
        last = self.history.last
        return last.status if last else None

    @cached_property
    def method(self) -> Method | None:
        """The collection method, when every source that names one names the same; else None."""
        named = set(self.facts.methods)
        named.update(event.status.raw.split(".", 2)[1] for event in self.history.events if event.status.level)
        if len(named) != 1:
            return None
        (only,) = named
        return Method(only) if only in set(Method) else None

    @cached_property
    def entry(self) -> Entry | None:
        """The catalogue's row for the current status, or None when status or method is unknown."""
        status, method = self.status, self.method
        if status is None or method is None or status.method is not method:
            return None
        return status.entry

    @property
    def open(self) -> bool:
        """Not known to have ended. An unknown status counts as open: it is followed, never acted on."""
        return not (self.status is not None and self.status.terminal)

    @property
    def created_at(self) -> datetime | None:
        first = self.history.first
        return self.facts.created_at or (first.at if first else None)

    @property
    def has_shipped(self) -> bool:
        return self.history.shipped is not None or self.facts.outbound_tracking

    @cached_property
    def appointment(self) -> Appointment | NoAppointment:
        """The active appointment: the newest one, if the history does not contradict it.

        `labtest.appointment.*` may be the only news of a slot (Sonora Quest), so one without any order event
        counts. An order event newer than the appointment's last change that says otherwise makes it unknown,
        and so does a history that speaks of an appointment we have never seen.
        """
        news = [event for event in self.history.events if event.status.name in APPOINTMENT_NAMES]
        told = news[-1] if news else None
        if not self.appointments:
            return NoAppointment.NONE if told is None or self._is_over(told) else NoAppointment.UNKNOWN
        newest = max(self.appointments, key=lambda a: (a.booked_at or a.changed_at, a.newness))
        if not newest.known:
            return NoAppointment.UNKNOWN
        if self.appointment_missing is not None and self.appointment_missing >= newest.observed_at:
            return self._gone(newest, told)
        if told is not None and told.at > newest.changed_at and not _agrees(told.status.name, newest.status):
            return NoAppointment.UNKNOWN
        return newest

    def _is_over(self, told: Event) -> bool:
        """Whether Junction's showing no appointment is explained by this newest event about one."""
        missing = self.appointment_missing
        return told.status.name == "appointment_cancelled" and missing is not None and missing >= told.at

    def _gone(self, newest: Appointment, told: Event | None) -> Appointment | NoAppointment:
        """Junction no longer shows the appointment: because it is over, or for a reason we do not know."""
        if newest.status in {"cancelled", "completed"}:
            return newest
        if told is not None and told.status.name == "appointment_cancelled" and told.at >= newest.changed_at:
            return replace(newest, status="cancelled")
        return NoAppointment.UNKNOWN

    @property
    def has_appointments(self) -> bool:
        return self.method in APPOINTMENT_KIND

    @property
    def slot_left(self) -> datetime | None:
        """When the appointment begins that an ended order has left behind, waiting for nobody."""
        slot = self.appointment
        if self.open or not isinstance(slot, Appointment) or slot.status not in WAITING:
            return None
        return slot.start

    def newest_time(self) -> datetime | None:
        """The latest time any fact of ours is dated, to notice facts from the future."""
        times = [self.facts.updated_at, *(a.changed_at for a in self.appointments)]
        if self.facts.created_at is not None:
            times.append(self.facts.created_at)
        if (last := self.history.last) is not None:
            times.append(last.at)
        return max(times, default=None)


def _agrees(event_name: str, status: str) -> bool:
    expected = {
        "appointment_pending": {"pending", "reserved"},
        "appointment_scheduled": {"reserved", "confirmed", "in_progress", "completed"},
        "appointment_cancelled": {"cancelled"},
    }
    return status in expected[event_name]


def merge(news: Iterable[Order]) -> Order:
    """All pieces of news about one order, in any order, with any repetition."""
    first, *rest = news
    for other in rest:
        first = first.merged(other)
    return first
