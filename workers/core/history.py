"""The history of an order: a set of dated events, whatever order they came in. No clock, no storage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from workers.core.status import Reach, Status


@dataclass(frozen=True, slots=True)
class Event:
    """One status change, as Junction dated it."""

    id: int
    at: datetime
    status: Status
    detail: str | None = None

    @property
    def place(self) -> tuple[datetime, int, str, str]:
        """Where it belongs in the history. Raw text only settles what Junction should never send:
        one id with two contents."""
        return (self.at, self.id, self.status.raw, self.detail or "")


@dataclass(frozen=True)
class History:
    """The events of one order, each id once, oldest first."""

    events: tuple[Event, ...] = ()

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """Set union by event id. Of two contents for one id the later-placed wins, so that every order of
        arrival ends in the same history."""
        by_id: dict[int, Event] = {}
        for event in events:
            known = by_id.get(event.id)
            if known is None or event.place > known.place:
                by_id[event.id] = event
        return cls(tuple(sorted(by_id.values(), key=lambda event: event.place)))

    def merged(self, other: History) -> History:
        return History.of((*self.events, *other.events))

    def until(self, now: datetime) -> History:
        """As it stood at `now`: what happened later is left out."""
        return History(tuple(event for event in self.events if event.at <= now))

    def without(self, event_ids: frozenset[int]) -> History:
        """The same without these events: our own actions, when a plan is repeated after one of its steps."""
        return History(tuple(event for event in self.events if event.id not in event_ids))

    @property
    def last(self) -> Event | None:
        return self.events[-1] if self.events else None

    @property
    def first(self) -> Event | None:
        return self.events[0] if self.events else None

    def stay(self, names: frozenset[str]) -> Event | None:
        """The event that began the current unbroken stay in these statuses; None when it is elsewhere."""
        began = None
        for event in reversed(self.events):
            if event.status.name not in names:
                break
            began = event
        return began

    def seen(self, name: str) -> tuple[Event, ...]:
        return tuple(event for event in self.events if event.status.name == name)

    @cached_property
    def shipped(self) -> Event | None:
        """The first event that shows the kit out of the warehouse. A registered kit is one: a clinic hands
        out stock without any transit event, and registrable kits come back to `received` after delivery."""
        return self._first_reaching(Reach.SHIPPED)

    @cached_property
    def drawn(self) -> Event | None:
        """The first event that shows the sample drawn or further along."""
        return self._first_reaching(Reach.DRAWN)

    @cached_property
    def collected(self) -> Event | None:
        """The first event that shows the sample past the patient: sent, with the lab, tested or lost."""
        return self._first_reaching(Reach.COLLECTED)

    @cached_property
    def cancelled(self) -> Event | None:
        return next((event for event in self.events if event.status.cancelled), None)

    @property
    def reinstated(self) -> bool:
        """Live again after a cancellation: only support can do that, so no rule undoes it."""
        return self.cancelled is not None and self.last is not None and not self.last.status.terminal

    @cached_property
    def strange(self) -> tuple[Event, ...]:
        """Events whose status the catalogue does not know."""
        return tuple(event for event in self.events if event.status.entry is None)

    def _first_reaching(self, reach: Reach) -> Event | None:
        for event in self.events:
            known = event.status.entry
            if known is not None and known.reach.value >= reach.value:
                return event
        return None
