"""The orders of the demo: who they are, what happens to them, how it must end and why. A new one is a row in
CAST."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class Ending(StrEnum):
    """How the story of an order ends, as far as we are concerned."""

    CANCELLED = "cancelled"
    SLOT = "slot only"  # the order had ended already; its appointment is cancelled
    KEPT = "kept"
    BLOCKED = "blocked"  # due by all we had been told, and saved by the fresh look
    REFUSED = "refused"
    REVIEW = "review"  # waits for a person
    SHADOW = "shadow"  # would have been cancelled, by a rule on trial
    FAILED = "failed"  # nobody's story is meant to end so


# --- what may happen to an order -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step(ABC):
    """Something that happens at the laboratory, `at` seconds after the order was placed; with `upon`, so long
    after the laboratory got that call about it."""

    at: float
    upon: str | None = field(default=None, kw_only=True)

    @abstractmethod
    def request(self, order_id: str, placed: datetime, now: datetime) -> tuple[str, Mapping[str, Any]]:
        """What the sandbox is asked for: path and body of a POST. Times in UTC."""


@dataclass(frozen=True, slots=True)
class Event(Step):
    """A new status. `dated`: it is an old one, of so many seconds after the order was placed; `quiet`: its
    webhook gets lost."""

    status: str
    dated: float | None = field(default=None, kw_only=True)
    quiet: bool = field(default=False, kw_only=True)

    def request(self, order_id: str, placed: datetime, now: datetime) -> tuple[str, Mapping[str, Any]]:
        at = now if self.dated is None else placed + timedelta(seconds=self.dated)
        body = {"status": self.status, "at": at.isoformat(), "quiet": self.quiet}
        return f"/sandbox/orders/{order_id}/events", body


@dataclass(frozen=True, slots=True)
class Slot(Step):
    """A new state of the order's appointment, which starts so many hours from now."""

    status: str
    hours: float = field(default=48, kw_only=True)
    provider: str | None = field(default=None, kw_only=True)
    new: bool = field(default=False, kw_only=True)
    quiet: bool = field(default=False, kw_only=True)

    def request(self, order_id: str, placed: datetime, now: datetime) -> tuple[str, Mapping[str, Any]]:
        start = placed + timedelta(hours=self.hours)
        body = {
            "status": self.status,
            "start_at": start.isoformat(),
            "provider": self.provider,
            "new": self.new,
            "quiet": self.quiet,
        }
        return f"/sandbox/orders/{order_id}/appointment", body


@dataclass(frozen=True, slots=True)
class Fault(Step):
    """The next call about the order goes wrong; the fields of sandbox.faults."""

    kind: str
    operation: str = field(default="cancel_order", kw_only=True)
    how: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def request(self, order_id: str, placed: datetime, now: datetime) -> tuple[str, Mapping[str, Any]]:
        whom = {"kind": self.kind, "operation": self.operation, "order_id": order_id, "count": 1}
        return "/sandbox/faults", {**whom, **self.how}


# --- stories ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Story:
    """One order: how it begins (the fields of sandbox.control.NewOrder), what happens then, how it must end.

    `rule`: the one that decides; None when none does. `slot_goes`: we cancel its appointment, too.
    """

    who: str
    scene: Mapping[str, Any]
    ending: Ending
    rule: str | None
    why: str
    steps: tuple[Step, ...] = ()
    slot_goes: bool = False

    @property
    def method(self) -> str:
        return str(self.scene["method"])


KIT = {"method": "testkit", "state": "requisition_created"}
STOCK_KIT = {"method": "testkit", "registrable": True, "state": "awaiting_registration"}
WALK_IN = {"method": "walk_in_test", "state": "requisition_created"}
EMPLOYER = {**WALK_IN, "lab_test": "employer-panel"}
HOME_VISIT = {"method": "at_home_phlebotomy", "state": "requisition_created"}
ON_SITE = {"method": "on_site_collection", "state": "requisition_created"}

# Those that take long come first.
CAST = (
    Story(
        "Ben",
        STOCK_KIT,
        Ending.CANCELLED,
        "kit-never-registered",
        "never registered; the lab applied our call and fell silent, so we looked instead of calling again",
        (Fault(0, "timeout_after"),),
    ),
    Story(
        "Gus",
        WALK_IN,
        Ending.CANCELLED,
        "walk-in-never-booked",
        "never booked; then he came and support reinstated the order, which no rule may undo",
        (Event(3, "requisition_created", upon="cancel_order"),),
    ),
    Story(
        "Pat",
        HOME_VISIT,
        Ending.CANCELLED,
        "home-visit-never-confirmed",
        "never confirmed; our call got a 504 and took effect three seconds later: still one call",
        (Slot(0, "pending", hours=80), Fault(0, "apply_late", how={"seconds": 3, "status": 504})),
    ),
    Story(
        "Kai",
        KIT,
        Ending.REFUSED,
        "kit-never-shipped",
        "it shipped while our call was on its way: 400, transition not allowed",
        (
            Fault(0, "latency", how={"seconds": 3}),
            Event(0.5, "transit_customer", upon="cancel_order"),
        ),
    ),
    Story(
        "Cleo",
        STOCK_KIT,
        Ending.CANCELLED,
        "kit-never-registered",
        "never registered; the lab was busy (429), so we waited as long as it asked for",
        (Fault(0, "status", how={"status": 429, "retry_after": 2}),),
    ),
    Story(
        "Quinn",
        STOCK_KIT,
        Ending.CANCELLED,
        "kit-never-registered",
        "never registered; old news that came after the cancellation changed nothing",
        (Event(2, "requisition_created", dated=1, upon="cancel_order"),),
    ),
    Story(
        "Val",
        ON_SITE,
        Ending.CANCELLED,
        "on-site-never-collected",
        "never collected; the lab did not answer our look (503), so we looked again before we called",
        (Fault(0, "status", operation="get_order", how={"status": 503, "retry_after": 2}),),
    ),
    Story(
        "Wim",
        ON_SITE,
        Ending.CANCELLED,
        "on-site-never-collected",
        "never collected; the answer broke off after ten bytes, and a look showed that it was done",
        (Fault(0, "drop", how={"at_byte": 10}),),
    ),
    Story(
        "Ana",
        STOCK_KIT,
        Ending.CANCELLED,
        "kit-never-registered",
        "nobody registered the kit, and it never left the warehouse",
    ),
    Story(
        "Dov",
        STOCK_KIT,
        Ending.KEPT,
        None,
        "the kit shipped",
        (Event(2, "transit_customer"), Event(3, "out_for_delivery")),
    ),
    Story(
        "Eva",
        STOCK_KIT,
        Ending.KEPT,
        None,
        "registered at home, so it is back in `received`; but its history shows that it shipped",
        (
            Event(1, "transit_customer"),
            Event(2, "with_customer"),
            Event(3, "registered"),
            Event(4, "requisition_created"),
        ),
    ),
    Story(
        "Finn",
        STOCK_KIT,
        Ending.KEPT,
        None,
        "a clinic handed the kit out: registered without ever having been sent",
        (Event(2, "testkit_registered"), Event(3, "requisition_created")),
    ),
    Story(
        "Gil",
        KIT | {"tracking_number": "1Z999AA10123456784"},
        Ending.KEPT,
        None,
        "no event says so, but it has a tracking number: it shipped",
    ),
    Story(
        "Hana",
        KIT,
        Ending.CANCELLED,
        "kit-never-shipped",
        "the requisition is there, and the kit never left the warehouse",
    ),
    Story(
        "Jan",
        KIT,
        Ending.BLOCKED,
        "kit-never-shipped",
        "the webhook of its shipping got lost; the fresh look saw it",
        (Event(6, "transit_customer", quiet=True),),
    ),
    Story(
        "Lea",
        KIT | {"state": "ordered"},
        Ending.SHADOW,
        "kit-never-started",
        "a rule on trial would have cancelled it",
    ),
    Story(
        "Max",
        STOCK_KIT,
        Ending.KEPT,
        None,
        "a status nobody has heard of: shown, never acted on",
        (Event(3, "received.testkit.waiting_for_drone"),),
    ),
    Story(
        "Nia",
        KIT | {"state": "ordered", "activate_by": "2099-01-01"},
        Ending.KEPT,
        None,
        "scheduled for later, so it waits on purpose",
    ),
    Story("Ola", KIT | {"origin": "redraw"}, Ending.KEPT, None, "a redraw is a free second collection"),
    Story(
        "Pia",
        KIT,
        Ending.KEPT,
        None,
        "completed; the old news that came after it changed nothing",
        (
            Event(1, "transit_customer"),
            Event(2, "transit_lab"),
            Event(3, "completed"),
            Event(6, "out_for_delivery", dated=1.5),
        ),
    ),
    Story(
        "Rosa", STOCK_KIT | {"lab_test": "sleep-study"}, Ending.KEPT, None, "exempted: the study's kits wait"
    ),
    Story(
        "Tea",
        STOCK_KIT,
        Ending.KEPT,
        None,
        "her clinic cancelled it by hand, before the rule did",
        (Event(3, "cancelled"),),
    ),
    Story(
        "Uma",
        WALK_IN,
        Ending.CANCELLED,
        "walk-in-never-booked",
        "she never booked an appointment and never went",
    ),
    Story(
        "Vic",
        WALK_IN,
        Ending.KEPT,
        None,
        "booked, and went",
        (Slot(1, "confirmed"), Event(4, "completed")),
    ),
    Story(
        "Wes",
        WALK_IN,
        Ending.CANCELLED,
        "walk-in-never-confirmed",
        "the lab never confirmed the slot: first the slot goes, then the order",
        (Slot(0, "pending"),),
        slot_goes=True,
    ),
    Story(
        "Xia",
        WALK_IN,
        Ending.CANCELLED,
        "walk-in-never-went",
        "did not go; the slot is two days away, so it goes, too",
        (Slot(0, "confirmed", hours=48),),
        slot_goes=True,
    ),
    Story(
        "Yan",
        WALK_IN,
        Ending.CANCELLED,
        "walk-in-never-went",
        "did not go; the slot is five hours away, so it stays",
        (Slot(0, "confirmed", hours=5),),
    ),
    Story(
        "Zoe",
        WALK_IN,
        Ending.CANCELLED,
        "walk-in-never-went",
        "did not go; no program can cancel a slot at Sonora Quest, so it stays",
        (Slot(0, "confirmed", provider="sonora_quest"),),
    ),
    Story(
        "Abe",
        WALK_IN,
        Ending.CANCELLED,
        "walk-in-not-booked-again",
        "he cancelled his appointment and booked no other",
        (Slot(1, "confirmed"), Slot(3, "cancelled")),
    ),
    Story(
        "Bea",
        WALK_IN,
        Ending.KEPT,
        None,
        "cancelled her appointment, booked another and went",
        (Slot(1, "confirmed"), Slot(2, "cancelled"), Slot(4, "confirmed", new=True), Event(7, "completed")),
    ),
    Story(
        "Cy",
        WALK_IN,
        Ending.CANCELLED,
        "walk-in-reservation-lapsed",
        "reserved and never confirmed; he has not been told, so the slot stays in case he comes",
        (Slot(0, "reserved"),),
    ),
    Story(
        "Dee",
        WALK_IN,
        Ending.BLOCKED,
        "walk-in-never-booked",
        "partial results send no webhook; the fresh look saw them",
        (Event(6, "partial_results"),),
    ),
    Story(
        "Eli",
        WALK_IN,
        Ending.REFUSED,
        "walk-in-never-booked",
        "the lab said no: final until the status changes",
        (Fault(0, "status", how={"status": 400}),),
    ),
    Story(
        "Fay",
        EMPLOYER,
        Ending.SLOT,
        "orphan-slot",
        "her order was cancelled by hand and its slot forgotten",
        (Slot(0, "confirmed"), Event(3, "cancelled")),
        slot_goes=True,
    ),
    Story(
        "Hal",
        WALK_IN,
        Ending.KEPT,
        None,
        "his order was cancelled by hand, too, but no rule asks for his slot",
        (Slot(0, "confirmed"), Event(3, "cancelled")),
    ),
    Story(
        "Ida",
        HOME_VISIT,
        Ending.CANCELLED,
        "home-visit-never-confirmed",
        "not confirmed, and the visit is three days away: fully refunded",
        (Slot(0, "pending", hours=72),),
    ),
    Story(
        "Kim",
        HOME_VISIT,
        Ending.KEPT,
        None,
        "not confirmed either, but the visit is 20 hours away: no refund any more",
        (Slot(0, "pending", hours=20),),
    ),
    Story(
        "Leo",
        HOME_VISIT,
        Ending.KEPT,
        None,
        "confirmed in time",
        (Slot(0, "pending"), Slot(3, "confirmed")),
    ),
    Story(
        "Mia",
        HOME_VISIT,
        Ending.BLOCKED,
        "home-visit-never-confirmed",
        "the webhook of her confirmation got lost; the fresh look saw it",
        (Slot(0, "pending"), Slot(6, "confirmed", quiet=True)),
    ),
    Story(
        "Ned",
        HOME_VISIT,
        Ending.KEPT,
        None,
        "his blood is drawn",
        (Slot(0, "confirmed"), Event(4, "draw_completed")),
    ),
    Story(
        "Ora",
        HOME_VISIT,
        Ending.REVIEW,
        "home-visit-fell-through",
        "her visit fell through: a person shall decide",
        (Slot(0, "confirmed"), Slot(2, "cancelled")),
    ),
    Story("Rex", ON_SITE, Ending.CANCELLED, "on-site-never-collected", "he never came to the collection"),
    Story(
        "Sue",
        ON_SITE | {"state": "ordered"},
        Ending.CANCELLED,
        "on-site-never-collected",
        "not even a requisition, and the collection is over",
    ),
    Story("Tom", ON_SITE, Ending.KEPT, None, "his blood is drawn", (Event(2, "draw_completed"),)),
    Story(
        "Una",
        ON_SITE,
        Ending.BLOCKED,
        "on-site-never-collected",
        "the webhook of her draw got lost; the fresh look saw it",
        (Event(6, "draw_completed", quiet=True),),
    ),
)
