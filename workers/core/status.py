"""The statuses of an order: Junction's catalogue, with what each means for a cancellation.

A new status is a row in `CATALOGUE`. Values nobody has seen are kept as they came and mean nothing to us.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import lru_cache
from typing import NamedTuple


class Method(StrEnum):
    """How the sample is collected."""

    TESTKIT = "testkit"
    WALK_IN = "walk_in_test"
    AT_HOME = "at_home_phlebotomy"
    ON_SITE = "on_site_collection"


class Level(StrEnum):
    """The high level of a status. Sources disagree about it for some, so only the catalogue's counts."""

    RECEIVED = "received"
    COLLECTING = "collecting_sample"
    WITH_LAB = "sample_with_lab"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


TERMINAL = frozenset({Level.COMPLETED, Level.CANCELLED, Level.FAILED})


class Window(Enum):
    """From which statuses our policy may cancel."""

    OPEN = "may be cancelled"
    UNTIL_SHIPPED = "may be cancelled if nothing has shipped"
    REGISTERED_KITS = "may be cancelled only by a rule that includes registered_kits"
    DRAWN = "may be cancelled only by a rule that includes drawn"
    CLOSED = "can no longer be cancelled"


class Reach(Enum):
    """How far the material has gone once an event with this status is in the history."""

    NOWHERE = 0
    SHIPPED = 1  # the kit has left the warehouse, or is in somebody's hands
    DRAWN = 2  # the sample is out of the patient
    COLLECTED = 3  # the sample is on its way, with the lab, or was lost on the way


@dataclass(frozen=True, slots=True)
class Entry:
    """One status of one method: Junction's word on cancelling it, and ours."""

    method: Method
    name: str
    levels: tuple[Level, ...]
    documented: bool  # Junction's guide calls it cancellable
    window: Window
    reach: Reach
    progress: int  # place along the usual path; a larger number is further along

    @property
    def key(self) -> tuple[Method, str]:
        return (self.method, self.name)

    @property
    def terminal(self) -> bool:
        return self.levels[0] in TERMINAL

    @property
    def cancelled(self) -> bool:
        return self.levels[0] is Level.CANCELLED


# Other spellings of one status: the guide and older examples say the left, API and SDK the right.
ALIASES = {
    (Method.TESTKIT, "testkit_registered"): "registered",
    (Method.WALK_IN, "order_completed"): "completed",
}

_R, _C, _L = (Level.RECEIVED,), (Level.COLLECTING,), (Level.WITH_LAB,)
_DONE, _OUT, _FAIL = (Level.COMPLETED,), (Level.CANCELLED,), (Level.FAILED,)
_OPEN, _UNTIL, _CLOSED = Window.OPEN, Window.UNTIL_SHIPPED, Window.CLOSED
_NO, _SHIPPED, _GONE = Reach.NOWHERE, Reach.SHIPPED, Reach.COLLECTED

# name, levels, documented, window, reach: in the order of the usual path
_Row = tuple[str, tuple[Level, ...], bool, Window, Reach]

_TESTKIT: tuple[_Row, ...] = (
    ("ordered", _R, True, _OPEN, _NO),
    ("awaiting_registration", _R, True, _OPEN, _NO),
    ("requisition_created", _R, True, _UNTIL, _NO),
    ("requisition_bypassed", _R, True, _UNTIL, _NO),
    ("transit_customer", _C, False, _CLOSED, _SHIPPED),
    ("problem_in_transit_customer", _C, False, _CLOSED, _SHIPPED),
    ("out_for_delivery", _C, False, _CLOSED, _SHIPPED),
    ("with_customer", _C, False, _CLOSED, _SHIPPED),
    ("registered", _R, True, Window.REGISTERED_KITS, _SHIPPED),
    ("transit_lab", _C, False, _CLOSED, _GONE),
    ("problem_in_transit_lab", _C, False, _CLOSED, _GONE),
    ("delivered_to_lab", _L, False, _CLOSED, _GONE),
    ("lab_processing_blocked", _L, False, _CLOSED, _GONE),
    ("completed", _DONE, False, _CLOSED, _GONE),
    ("corrected", _DONE, False, _CLOSED, _GONE),
    ("failure_to_deliver_to_customer", _FAIL, False, _CLOSED, _SHIPPED),
    ("failure_to_deliver_to_lab", _FAIL, False, _CLOSED, _GONE),
    ("sample_error", _FAIL, False, _CLOSED, _GONE),
    ("lost", _FAIL, False, _CLOSED, _GONE),
    ("cancelled", _OUT, False, _CLOSED, _NO),
    ("do_not_process", _OUT, False, _CLOSED, _NO),
)

_BEFORE_COLLECTION: tuple[_Row, ...] = (
    ("ordered", _R, True, _OPEN, _NO),
    ("requisition_created", _R, True, _OPEN, _NO),
    ("requisition_bypassed", _R, True, _OPEN, _NO),
)
_APPOINTMENT: tuple[_Row, ...] = (
    ("appointment_pending", _C, True, _OPEN, _NO),
    ("appointment_cancelled", _C, True, _OPEN, _NO),
    ("appointment_scheduled", _C, True, _OPEN, _NO),
)
_ENDS: tuple[_Row, ...] = (
    ("partial_results", _L, False, _CLOSED, _GONE),
    ("completed", _DONE, False, _CLOSED, _GONE),
    ("corrected", _DONE, False, _CLOSED, _GONE),
    ("sample_error", _FAIL, False, _CLOSED, _GONE),
    ("cancelled", _OUT, False, _CLOSED, _NO),
)
_WALK_IN = (*_BEFORE_COLLECTION, *_APPOINTMENT, ("redraw_available", _C, False, _CLOSED, _GONE), *_ENDS)
_AT_HOME = (
    *_BEFORE_COLLECTION,
    *_APPOINTMENT,
    ("draw_completed", _C, True, Window.DRAWN, Reach.DRAWN),
    *_ENDS,
)
_ON_SITE = (
    *_BEFORE_COLLECTION,
    # The guide says collecting_sample, the API sample_with_lab.
    ("draw_completed", (Level.COLLECTING, Level.WITH_LAB), True, Window.DRAWN, Reach.DRAWN),
    *_ENDS,
)

CATALOGUE: dict[tuple[Method, str], Entry] = {
    (method, row[0]): Entry(method, *row, progress)
    for method, rows in (
        (Method.TESTKIT, _TESTKIT),
        (Method.WALK_IN, _WALK_IN),
        (Method.AT_HOME, _AT_HOME),
        (Method.ON_SITE, _ON_SITE),
    )
    for progress, row in enumerate(rows)
}

KNOWN_NAMES = frozenset(name for _, name in CATALOGUE) | frozenset(name for _, name in ALIASES)

# Methods whose orders can have an appointment, and the kind of it.
APPOINTMENT_KIND = {Method.WALK_IN: "patient_service_center", Method.AT_HOME: "phlebotomy"}
APPOINTMENT_NAMES = frozenset(row[0] for row in _APPOINTMENT)


def entry(method: Method | None, name: str) -> Entry | None:
    """The catalogue's row for a low-level status name (either spelling), or None when nobody knows it."""
    if method is None:
        return None
    return CATALOGUE.get((method, ALIASES.get((method, name), name)))


def names_of(method: Method) -> tuple[str, ...]:
    """The low-level names that orders of this method can have, both spellings."""
    own = [name for other, name in CATALOGUE if other is method]
    return (*own, *(alias for other, alias in ALIASES if other is method))


@dataclass(frozen=True, slots=True)
class Status:
    """A status as Junction wrote it: `HIGH.METHOD.LOW`, or anything else, kept raw."""

    raw: str

    @property
    def level(self) -> str | None:
        return _parsed(self.raw).level

    @property
    def method(self) -> Method | None:
        return _parsed(self.raw).method

    @property
    def name(self) -> str:
        """The low level in its canonical spelling; the whole text when it has another shape."""
        return _parsed(self.raw).name

    @property
    def entry(self) -> Entry | None:
        return _parsed(self.raw).entry

    @property
    def terminal(self) -> bool:
        known = self.entry
        return known is not None and known.terminal

    @property
    def cancelled(self) -> bool:
        known = self.entry
        return known is not None and known.cancelled

    def __str__(self) -> str:
        return self.raw


class _Parsed(NamedTuple):
    level: str | None
    method: Method | None
    name: str
    entry: Entry | None


@lru_cache(maxsize=1024)  # several times the catalogue; a flood of new texts only empties it
def _parsed(raw: str) -> _Parsed:
    parts = raw.split(".", 2)
    if len(parts) < 3:
        return _Parsed(None, None, raw, None)
    level, middle, low = parts
    method = Method(middle) if middle in set(Method) else None
    name = ALIASES.get((method, low), low) if method else low
    return _Parsed(level, method, name, entry(method, name))
