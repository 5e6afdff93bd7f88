"""The state machines of an order, as maps: where each status has its place, and which way leads to the next.

How a map is drawn is lifecycle.py's business; what a status means for a cancellation, workers.core.status's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from workers.core.history import History
from workers.core.status import Method

Way = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a status stands: columns from the left, rows from the top. Half rows hold the small ends."""

    name: str
    label: str
    column: int
    row: float
    small: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """A high level, and the columns it spans."""

    title: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Map:
    """One state machine. `ways` are drawn always, `side_ways` only once they were taken: they follow from the
    names of the statuses, but no diagram of Junction's has them. Our policy stops cancelling by default
    between column `cut` and the next."""

    title: str
    method: Method
    lanes: tuple[Lane, ...]
    places: dict[str, Place]
    path: tuple[str, ...]  # the usual way through
    ways: frozenset[Way]
    side_ways: frozenset[Way]
    cut: int

    def documents(self, way: Way) -> bool:
        return way in self.ways or way in self.side_ways

    def reachable_from(self, name: str) -> frozenset[str]:
        """Every place some way leads to from here, itself only if a way leads back."""
        found: set[str] = set()
        ahead = [name]
        while ahead:
            here = ahead.pop()
            after = {b for a, b in (*self.ways, *self.side_ways) if a == here} - found
            found |= after
            ahead += after
        return frozenset(found)


def map_of(method: Method, history: History) -> Map:
    """The map of this method. A kit is a registrable one once its history says so."""
    if method is Method.TESTKIT and (history.seen("awaiting_registration") or history.seen("registered")):
        return REGISTRABLE_KIT
    return _BY_METHOD[method]


_LABELS = {
    "ordered": "Ordered",
    "awaiting_registration": "Awaiting registration",
    "registered": "Registered",
    "requisition_created": "Requisition created",
    "requisition_bypassed": "Requisition bypassed",
    "transit_customer": "Transit to customer",
    "problem_in_transit_customer": "Problem on way to customer",
    "out_for_delivery": "Out for delivery",
    "with_customer": "With customer",
    "transit_lab": "Transit to lab",
    "problem_in_transit_lab": "Problem on way to lab",
    "delivered_to_lab": "Delivered to lab",
    "lab_processing_blocked": "Lab processing blocked",
    "appointment_pending": "Appointment pending",
    "appointment_scheduled": "Appointment scheduled",
    "appointment_cancelled": "Appointment cancelled",
    "draw_completed": "Draw completed",
    "redraw_available": "Redraw available",
    "partial_results": "Partial results",
    "completed": "Completed",
    "corrected": "Corrected",
    "cancelled": "Cancelled",
    "do_not_process": "Do not process",
    "failure_to_deliver_to_customer": "Undeliverable",
    "failure_to_deliver_to_lab": "Lab not reached",
    "sample_error": "Sample error",
    "lost": "Lost",
}


def label_of(name: str) -> str:
    """A status in words; one nobody knows as it came."""
    return _LABELS.get(name, name)


def _places(*columns: dict[float, str]) -> dict[str, Place]:
    *wide, ends = columns
    found = [
        Place(name, _LABELS[name], column, row)
        for column, rows in enumerate(wide)
        for row, name in rows.items()
    ]
    found += [Place(name, _LABELS[name], len(wide), row, small=True) for row, name in ends.items()]
    return {place.name: place for place in found}


def _lanes(received: int, collecting: int, with_lab: int) -> tuple[Lane, ...]:
    """Lanes from the number of columns of each; the ends have one."""
    widths = {
        "Received": received,
        "Collecting sample": collecting,
        "Sample with lab": with_lab,
        "Terminal": 1,
    }
    lanes: list[Lane] = []
    start = 0
    for title, width in widths.items():
        if width:
            lanes.append(Lane(title, start, start + width - 1))
        start += width
    return tuple(lanes)


def _ways(text: str) -> frozenset[Way]:
    """`a > b > c` on each line: a way from each to the next."""
    lines = (line.strip().split(" > ") for line in text.strip().splitlines())
    return frozenset(way for names in lines for way in pairwise(names))


_SIDE_WAYS_OF_KITS = _ways("""
    transit_customer > problem_in_transit_customer > out_for_delivery
    problem_in_transit_customer > with_customer
    problem_in_transit_customer > failure_to_deliver_to_customer
    problem_in_transit_customer > lost
    transit_customer > with_customer
    transit_customer > lost
    transit_lab > problem_in_transit_lab > delivered_to_lab
    problem_in_transit_lab > failure_to_deliver_to_lab
    problem_in_transit_lab > lost
    delivered_to_lab > lab_processing_blocked > completed
    delivered_to_lab > do_not_process
    completed > corrected
""")

REGISTERED_KIT = Map(
    title="Test kit",
    method=Method.TESTKIT,
    lanes=_lanes(1, 2, 1),
    places=_places(
        {0: "ordered", 1: "requisition_created", 2: "requisition_bypassed"},
        {0: "transit_customer", 1: "out_for_delivery", 2: "with_customer"},
        {0: "problem_in_transit_customer", 2: "transit_lab", 3: "problem_in_transit_lab"},
        {2: "delivered_to_lab", 3: "lab_processing_blocked"},
        {
            0: "cancelled",
            0.5: "do_not_process",
            1: "failure_to_deliver_to_customer",
            1.5: "failure_to_deliver_to_lab",
            2: "completed",
            2.5: "corrected",
            3: "sample_error",
            3.5: "lost",
        },
    ),
    path=(
        "ordered",
        "requisition_created",
        "transit_customer",
        "out_for_delivery",
        "with_customer",
        "transit_lab",
        "delivered_to_lab",
        "completed",
    ),
    ways=_ways("""
        ordered > requisition_created > transit_customer > out_for_delivery > with_customer > transit_lab
        transit_lab > delivered_to_lab > completed
        ordered > cancelled
        requisition_created > cancelled
        out_for_delivery > failure_to_deliver_to_customer
        transit_lab > failure_to_deliver_to_lab
        delivered_to_lab > sample_error
    """),
    side_ways=_SIDE_WAYS_OF_KITS
    | _ways("""
        ordered > requisition_bypassed > transit_customer
        requisition_bypassed > cancelled
    """),
    cut=0,
)

# The way back from collecting to received is real: the requisition waits for the patient's name. By then the
# kit has left, so what comes after the delivery stands behind the line, although it is `received.*` again.
REGISTRABLE_KIT = Map(
    title="Test kit that is registered by its user",
    method=Method.TESTKIT,
    lanes=_lanes(2, 2, 1),
    places=_places(
        {0: "ordered", 1: "awaiting_registration"},
        {1: "requisition_bypassed", 2: "registered", 3: "requisition_created"},
        {0: "transit_customer", 1: "out_for_delivery", 2: "with_customer"},
        {0: "problem_in_transit_customer", 2: "problem_in_transit_lab", 3: "transit_lab"},
        {2: "lab_processing_blocked", 3: "delivered_to_lab"},
        {
            0: "cancelled",
            0.5: "do_not_process",
            1: "failure_to_deliver_to_customer",
            1.5: "failure_to_deliver_to_lab",
            2: "lost",
            2.5: "sample_error",
            3: "completed",
            3.5: "corrected",
        },
    ),
    path=(
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
    ways=_ways("""
        ordered > awaiting_registration > transit_customer > out_for_delivery > with_customer > registered
        registered > requisition_created > transit_lab > delivered_to_lab > completed
        ordered > cancelled
        awaiting_registration > cancelled
        out_for_delivery > failure_to_deliver_to_customer
        transit_lab > failure_to_deliver_to_lab
        delivered_to_lab > sample_error
    """),
    side_ways=_SIDE_WAYS_OF_KITS
    | _ways("""
        awaiting_registration > registered
        registered > requisition_bypassed > transit_lab
    """),
    cut=0,
)

_ENDS_OF_A_VISIT: dict[float, str] = {0: "cancelled", 1: "completed", 1.5: "corrected", 2: "sample_error"}

WALK_IN = Map(
    title="Walk-in at a patient service centre",
    method=Method.WALK_IN,
    lanes=_lanes(1, 2, 1),
    places=_places(
        {0: "ordered", 1: "requisition_created", 2: "requisition_bypassed"},
        {0: "appointment_pending", 1: "appointment_scheduled", 2: "appointment_cancelled"},
        {0: "redraw_available"},
        {2: "partial_results"},
        _ENDS_OF_A_VISIT,
    ),
    path=("ordered", "requisition_created", "appointment_pending", "appointment_scheduled", "completed"),
    # The diagram leads to `cancelled` from a cancelled appointment only; the guide lists the others too.
    ways=_ways("""
        ordered > requisition_created > appointment_pending > appointment_scheduled > completed > corrected
        requisition_created > appointment_scheduled
        appointment_scheduled > appointment_pending
        appointment_scheduled > appointment_cancelled > appointment_scheduled
        appointment_scheduled > partial_results > completed
        requisition_created > completed
        ordered > cancelled
        requisition_created > cancelled
        appointment_cancelled > cancelled
    """),
    side_ways=_ways("""
        ordered > requisition_bypassed > appointment_pending
        requisition_bypassed > appointment_scheduled
        requisition_bypassed > completed
        requisition_bypassed > partial_results
        requisition_bypassed > cancelled
        requisition_created > partial_results
        appointment_pending > appointment_cancelled > appointment_pending
        partial_results > redraw_available
        partial_results > sample_error
        appointment_scheduled > sample_error
    """),
    cut=1,
)

AT_HOME = Map(
    title="Home visit",
    method=Method.AT_HOME,
    lanes=_lanes(1, 2, 1),
    places=_places(
        {0: "ordered", 1: "requisition_created", 2: "requisition_bypassed"},
        {0: "appointment_pending", 1: "appointment_scheduled", 2: "appointment_cancelled"},
        {1: "draw_completed"},
        {2: "partial_results"},
        _ENDS_OF_A_VISIT,
    ),
    path=(
        "ordered",
        "requisition_created",
        "appointment_pending",
        "appointment_scheduled",
        "draw_completed",
        "completed",
    ),
    ways=_ways("""
        ordered > requisition_created > appointment_pending > appointment_scheduled > draw_completed
        draw_completed > completed > corrected
        requisition_created > appointment_scheduled
        appointment_scheduled > appointment_scheduled
        appointment_scheduled > appointment_pending
        appointment_scheduled > appointment_cancelled > appointment_scheduled
        draw_completed > partial_results > completed
        ordered > cancelled
        requisition_created > cancelled
        appointment_pending > cancelled
        appointment_cancelled > cancelled
    """),
    side_ways=_ways("""
        ordered > requisition_bypassed > appointment_pending
        requisition_bypassed > appointment_scheduled
        requisition_bypassed > cancelled
        appointment_pending > appointment_cancelled > appointment_pending
        draw_completed > sample_error
        partial_results > sample_error
    """),
    cut=1,
)

ON_SITE = Map(
    title="Collection on site",
    method=Method.ON_SITE,
    lanes=_lanes(1, 1, 1),
    places=_places(
        {0: "ordered", 1: "requisition_created", 2: "requisition_bypassed"},
        {1: "draw_completed"},
        {2: "partial_results"},
        _ENDS_OF_A_VISIT,
    ),
    path=("ordered", "requisition_created", "draw_completed", "completed"),
    ways=_ways("""
        ordered > requisition_created > draw_completed > completed > corrected
        draw_completed > partial_results > completed
        ordered > cancelled
        requisition_created > cancelled
    """),
    side_ways=_ways("""
        ordered > requisition_bypassed > draw_completed
        requisition_bypassed > cancelled
        draw_completed > sample_error
        partial_results > sample_error
    """),
    cut=0,
)

MAPS = (REGISTERED_KIT, REGISTRABLE_KIT, WALK_IN, AT_HOME, ON_SITE)
_BY_METHOD = {
    Method.TESTKIT: REGISTERED_KIT,
    Method.WALK_IN: WALK_IN,
    Method.AT_HOME: AT_HOME,
    Method.ON_SITE: ON_SITE,
}
