"""The life of an order as data: every status of the four methods, where it may be cancelled, the usual paths.

Source: Junction's order lifecycle pages and its guide on cancelling an order.
"""

from dataclasses import dataclass
from enum import StrEnum


class Method(StrEnum):
    TESTKIT = "testkit"
    WALK_IN = "walk_in_test"
    AT_HOME = "at_home_phlebotomy"
    ON_SITE = "on_site_collection"


@dataclass(frozen=True, slots=True)
class Step:
    """One status of one method. `cancellable`: Junction accepts a cancel from here."""

    high_level: str
    cancellable: bool = False


@dataclass(frozen=True, slots=True)
class Course:
    """A usual path, and for each status beside it the status after which an order leaves the path."""

    path: tuple[str, ...]
    departures: dict[str, str]

    def towards(self, low_level: str) -> tuple[str, ...]:
        """The statuses from the first one to `low_level`; ValueError if it is no status of this course."""
        if low_level in self.path:
            return self.path[: self.path.index(low_level) + 1]
        if low_level not in self.departures:
            raise ValueError(f"an order on this course never becomes {low_level!r}")
        return (*self.towards(self.departures[low_level]), low_level)


OPEN = Step("received", cancellable=True)
COLLECTING = Step("collecting_sample")
BOOKING = Step("collecting_sample", cancellable=True)
AT_LAB = Step("sample_with_lab")
COMPLETED = Step("completed")
FAILED = Step("failed")
CANCELLED = Step("cancelled")

_BEGINNING = {"ordered": OPEN, "requisition_created": OPEN, "requisition_bypassed": OPEN}
_APPOINTMENT = {
    "appointment_pending": BOOKING,
    "appointment_scheduled": BOOKING,
    "appointment_cancelled": BOOKING,
}
_ENDING = {
    "partial_results": AT_LAB,
    "completed": COMPLETED,
    "corrected": COMPLETED,
    "sample_error": FAILED,
    "cancelled": CANCELLED,
}

STEPS: dict[Method, dict[str, Step]] = {
    Method.TESTKIT: _BEGINNING
    | {
        "awaiting_registration": OPEN,
        "registered": OPEN,
        "testkit_registered": OPEN,  # the guide's spelling of `registered`
        "transit_customer": COLLECTING,
        "out_for_delivery": COLLECTING,
        "with_customer": COLLECTING,
        "transit_lab": COLLECTING,
        "problem_in_transit_customer": COLLECTING,
        "problem_in_transit_lab": COLLECTING,
        "delivered_to_lab": AT_LAB,
        "lab_processing_blocked": AT_LAB,
        "completed": COMPLETED,
        "corrected": COMPLETED,
        "failure_to_deliver_to_customer": FAILED,
        "failure_to_deliver_to_lab": FAILED,
        "sample_error": FAILED,
        "lost": FAILED,
        "cancelled": CANCELLED,
        "do_not_process": CANCELLED,
    },
    Method.WALK_IN: _BEGINNING
    | _APPOINTMENT
    | _ENDING
    | {"redraw_available": COLLECTING, "order_completed": COMPLETED},
    Method.AT_HOME: _BEGINNING | _APPOINTMENT | _ENDING | {"draw_completed": BOOKING},
    # The API files an on-site draw under sample_with_lab, the guide under collecting_sample.
    Method.ON_SITE: _BEGINNING | _ENDING | {"draw_completed": Step("sample_with_lab", cancellable=True)},
}

TERMINAL = frozenset({"completed", "failed", "cancelled"})
SILENT = frozenset({"partial_results"})  # sends no webhook unless Junction is asked to

_KIT_DEPARTURES = {
    "requisition_bypassed": "ordered",
    "cancelled": "requisition_created",
    "problem_in_transit_customer": "transit_customer",
    "lost": "transit_customer",
    "failure_to_deliver_to_customer": "out_for_delivery",
    "problem_in_transit_lab": "transit_lab",
    "failure_to_deliver_to_lab": "transit_lab",
    "lab_processing_blocked": "delivered_to_lab",
    "do_not_process": "delivered_to_lab",
    "sample_error": "delivered_to_lab",
    "corrected": "completed",
}
_DRAW_DEPARTURES = {
    "requisition_bypassed": "ordered",
    "cancelled": "requisition_created",
    "corrected": "completed",
}
_BOOKED_DEPARTURES = _DRAW_DEPARTURES | {"appointment_cancelled": "appointment_scheduled"}

_KIT = Course(
    (
        "ordered",
        "requisition_created",
        "transit_customer",
        "out_for_delivery",
        "with_customer",
        "transit_lab",
        "delivered_to_lab",
        "completed",
    ),
    _KIT_DEPARTURES,
)
# The way back from collecting_sample to received is real: the requisition waits for the patient's name.
_REGISTRABLE_KIT = Course(
    (
        "ordered",
        "awaiting_registration",
        "transit_customer",
        "out_for_delivery",
        "with_customer",
        "registered",
        "requisition_created",
        "transit_lab",
        "delivered_to_lab",
        "completed",
    ),
    _KIT_DEPARTURES
    | {
        "cancelled": "awaiting_registration",
        "requisition_bypassed": "registered",
        "testkit_registered": "with_customer",
    },
)
_WALK_IN = Course(
    ("ordered", "requisition_created", "appointment_pending", "appointment_scheduled", "completed"),
    _BOOKED_DEPARTURES
    | {
        "partial_results": "appointment_scheduled",
        "redraw_available": "partial_results",
        "sample_error": "appointment_scheduled",
        "order_completed": "appointment_scheduled",
    },
)
_AT_HOME = Course(
    (
        "ordered",
        "requisition_created",
        "appointment_pending",
        "appointment_scheduled",
        "draw_completed",
        "completed",
    ),
    _BOOKED_DEPARTURES | {"partial_results": "draw_completed", "sample_error": "draw_completed"},
)
_ON_SITE = Course(
    ("ordered", "requisition_created", "draw_completed", "completed"),
    _DRAW_DEPARTURES | {"partial_results": "draw_completed", "sample_error": "draw_completed"},
)


def course_of(method: Method, *, registrable: bool) -> Course:
    match method:
        case Method.TESTKIT:
            return _REGISTRABLE_KIT if registrable else _KIT
        case Method.WALK_IN:
            return _WALK_IN
        case Method.AT_HOME:
            return _AT_HOME
        case Method.ON_SITE:
            return _ON_SITE


def low_level_of(status: str) -> str:
    return status.rpartition(".")[2]


def full_status(method: Method, name: str) -> str:
    """`requisition_created` -> `received.testkit.requisition_created`; what nobody knows is left as it is."""
    step = STEPS[method].get(name)
    return f"{step.high_level}.{method}.{name}" if step else name


def step_of(method: Method, status: str) -> Step | None:
    """The step behind a full status, or None for one that is not in the tables."""
    step = STEPS[method].get(low_level_of(status))
    return step if step and full_status(method, low_level_of(status)) == status else None
