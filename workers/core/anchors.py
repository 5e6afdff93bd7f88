"""Anchors: the named instants that `elapsed` and `remaining` measure from. A new one is a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import ClassVar, Self

from workers.core.calendar import ship_cutoff
from workers.core.case import Case
from workers.core.order import Appointment, NoAppointment
from workers.core.status import Method


class NoTime(Enum):
    """Why an anchor has no instant: it surely does not exist, or nobody can tell."""

    NEVER = "does not exist"
    UNKNOWN = "not known"


When = datetime | NoTime


def _or_unknown(time: datetime | None) -> When:
    return time if time is not None else NoTime.UNKNOWN


def _appointment(pick: Callable[[Appointment], datetime | None]) -> Callable[[Case], When]:
    def at(case: Case) -> When:
        match case.order.appointment:
            case NoAppointment.NONE:
                return NoTime.NEVER
            case NoAppointment.UNKNOWN:
                return NoTime.UNKNOWN
            case Appointment() as found:
                return _or_unknown(pick(found))

    return at


def _ship_cutoff(case: Case) -> When:
    if case.order.method not in {Method.TESTKIT, None}:
        return NoTime.NEVER
    activated = case.activated_at
    return ship_cutoff(activated, case.calendar) if activated else NoTime.UNKNOWN


def _status_entered(case: Case) -> When:
    last = case.order.last
    stay = case.order.history.stay(frozenset({last.status.name})) if last else None
    return stay.at if stay else NoTime.UNKNOWN


ANCHORS: dict[str, tuple[str, Callable[[Case], When]]] = {
    "order.created": ("when the order was placed", lambda case: _or_unknown(case.order.created_at)),
    "order.activated": (
        "when the order was placed, or 00:00 in time.zone of the day it is scheduled for",
        lambda case: _or_unknown(case.activated_at),
    ),
    "status.entered": ("when the present status began", _status_entered),
    "appointment.start": ("when the appointment begins", _appointment(lambda found: found.start)),
    "appointment.end": ("when the appointment ends", _appointment(lambda found: found.end)),
    "appointment.booked": ("when the appointment was booked", _appointment(lambda found: found.booked_at)),
    "kit.ship_cutoff": (
        "13:00 New York on the first business day whose 13:00 is later than the order's activation",
        _ship_cutoff,
    ),
}


@dataclass(frozen=True, slots=True)
class Anchor:
    """`appointment.start`, `signal:<name>`, …: a name for an instant of one order."""

    name: str

    words: ClassVar[tuple[str, ...]] = (*ANCHORS, "signal:")
    pattern: ClassVar[str] = "|".join(name.replace(".", r"\.") for name in ANCHORS) + r"|signal:.+"
    example: ClassVar[str] = "appointment.start"

    @classmethod
    def parse(cls, text: str) -> Self:
        if text not in ANCHORS and not (text.startswith("signal:") and len(text) > len("signal:")):
            raise ValueError(f"unknown anchor {text!r}")
        return cls(text)

    def at(self, case: Case) -> When:
        if self.name.startswith("signal:"):
            return case.signal(self.name.removeprefix("signal:")) or NoTime.NEVER
        return ANCHORS[self.name][1](case)

    def __str__(self) -> str:
        return self.name
