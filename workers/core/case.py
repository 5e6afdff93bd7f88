"""What a rule may look at: an order, what was said about it, its siblings, at one instant. Gathered by the
handlers, read by conditions and guards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import Literal

from workers.core.calendar import Calendar, wall
from workers.core.order import Appointment, Order

Scope = Literal["order", "user"]


@dataclass(frozen=True, slots=True)
class Signal:
    """Something the platform said about an order or a user, until it is retracted."""

    name: str
    scope: Scope
    at: datetime


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another open order of the same user, with what ranking it needs. No progress: its status is unknown.

    `seen`: whether it may be relied on. Before a call only an order that was just looked at may.
    """

    id: str
    lab_test_id: str | None
    created_at: datetime | None
    progress: int | None
    seen: bool = True


@dataclass(frozen=True)
class Case:
    """Everything known about one order at `now` (UTC).

    `labels` and `siblings` are None when they could not be read: unknown, not empty.
    `own_events` are ids of events that our own actions caused; `undone` is the order as it was before a step
    of the decision under way, so that our own step cannot talk us out of the next one.
    """

    order: Order
    now: datetime
    calendar: Calendar
    environment: str = ""
    team_id: str | None = None
    signals: tuple[Signal, ...] = ()
    labels: frozenset[tuple[Scope, str]] | None = frozenset()
    siblings: tuple[Sibling, ...] | None = ()
    held: bool = False
    own_events: frozenset[int] = frozenset()
    undone: Order | None = None
    refused_at: frozenset[int] = frozenset()  # events at which Junction refused to cancel this order
    cancel_confirmed: bool = False
    decided: frozenset[str] = frozenset()  # activation keys already used, live and shadow alike
    notices: Mapping[str, datetime | None] = field(default_factory=dict)  # key -> delivered at, None: not yet
    live_since: Mapping[str, datetime] = field(default_factory=dict)  # rule -> when it was switched to act
    awake_since: datetime | None = None  # we could not act before this (a resume, a start)

    def before_our_step(self) -> Case:
        """The case as a condition shall see it: without what we did ourselves in this decision."""
        return replace(self, order=self.undone, undone=None) if self.undone is not None else self

    @property
    def activated_at(self) -> datetime | None:
        """When the order begins to wait for anything: its creation, or the day it is scheduled for."""
        created, by = self.order.created_at, self.order.facts.activate_by
        if by is None:
            return created
        scheduled = wall(self.calendar.zone, by, time())
        return max(created, scheduled) if created else scheduled

    def signal(self, name: str, scope: Scope | None = None) -> datetime | None:
        """Since when a signal stands; None when it does not. Without a scope the order's goes first."""
        standing = [s for s in self.signals if s.name == name and scope in {None, s.scope}]
        return min(((s.scope, s.at) for s in standing), default=(None, None))[1]

    @property
    def appointment_or_none(self) -> Appointment | None:
        found = self.order.appointment
        return found if isinstance(found, Appointment) else None


CLOCK_TOLERANCE = timedelta(seconds=60)  # how far clocks may disagree and still count as one
