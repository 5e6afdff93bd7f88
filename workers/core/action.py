"""One cancellation on its way: the states of a ledger row, and what to do with it next. Pure: the answer of a
call or a look goes in, what becomes of the row comes out.

    planned ──gate──> sending ──call──> unknown ──look──> confirmed | refused | failed
       ^                 │                 └─ after three looks and a long wait ─> gate, a second call
       └─ not sent, 429 ─┘
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from workers.core.order import HOME_VISIT, WAITING, Appointment, Order
from workers.core.plan import Step


class State(StrEnum):
    """Where an action stands. The first four keep any other action off the same target."""

    PLANNED = "planned"
    SENDING = "sending"
    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    REFUSED = "refused"  # Junction said no; final until the status changes
    FAILED = "failed"  # it did not happen, or nobody can tell after all attempts: a person looks
    DROPPED = "dropped"  # no longer wanted, or no longer allowed, before it was sent


LIVE = frozenset({State.PLANNED, State.SENDING, State.UNKNOWN, State.CONFIRMED})
UNDER_WAY = LIVE - {State.CONFIRMED}

# Answers that say the call itself changed nothing.
NOT_APPLIED = frozenset({"refused", "already_cancelled", "denied", "missing"})


@dataclass(frozen=True, slots=True)
class Action:
    """A ledger row, as far as choices depend on it. Times in UTC."""

    id: int
    decision: int
    order_id: str
    step: Step
    target: str
    state: State
    posts: int  # calls that may have reached Junction
    looks: int  # GETs since the last of them
    sent_at: datetime | None
    sending_until: datetime | None
    baseline: int | None  # newest event id when it was sent
    before: str | None  # the slot's status when it was sent
    answer: str | None  # what came back of the last call, as a word

    @property
    def ours(self) -> bool:
        """Whether a call of ours may have been applied. Who else cancelled it, Junction does not tell."""
        return self.posts > 1 or (self.posts == 1 and self.answer not in NOT_APPLIED)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what."""

    first_look: timedelta = timedelta(seconds=10)  # doubles with each look
    second_call: timedelta = timedelta(minutes=15)  # an apply may come late; never sooner
    looks_before_second_call: int = 3
    calls: int = 2
    in_flight: timedelta = timedelta(seconds=72)  # after `sending_until`: the HTTP time-out plus 60 s
    alarm: timedelta = timedelta(minutes=5)  # a cancel that long without proof is told to people


# What to do next.


@dataclass(frozen=True, slots=True)
class Confirm:
    """The target is cancelled at Junction."""

    event: int | None  # the event that says so
    ours: bool  # whether a call of ours may have done it
    visit_stands: bool = False  # Junction should have cancelled the home visit along with the order


@dataclass(frozen=True, slots=True)
class Gate:
    """Through the gate once more, then call."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Nothing to do before `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class End:
    """It did not happen, or nobody can tell."""

    state: State
    reason: str


Next = Confirm | Gate | LookAgain | End


def after_look(action: Action, order: Order, now: datetime, patience: Patience) -> Next:
    """What a fresh picture of the order means for the action. `action.looks` includes this look."""
    if (event := cancelled_event(action, order)) is not None:
        stands = action.step is Step.CANCEL_ORDER and action.ours and _visit_stands(order)
        if stands and action.looks < patience.looks_before_second_call:
            return LookAgain(now + _pause(action, patience))
        return Confirm(event or None, action.ours, stands)
    match action.state:
        case State.PLANNED:
            return Gate()
        case State.SENDING:
            assert action.sending_until is not None
            until = action.sending_until + patience.in_flight
            return LookAgain(until) if now < until else _unresolved(action, order, now, patience)
        case State.UNKNOWN:
            return _unresolved(action, order, now, patience)
        case ended:
            return End(ended, f"it is {ended} already")


def _unresolved(action: Action, order: Order, now: datetime, patience: Patience) -> Next:
    """A call went out and nothing shows that it was applied. A clear no is final; else Junction may still
    apply it: look, wait, look."""
    if action.answer == "refused":
        return End(State.REFUSED, "Junction refused: the status does not allow it")
    if action.answer in {"denied", "missing"}:
        return End(State.FAILED, f"Junction answered: {action.answer}")
    assert action.sent_at is not None
    moved = order.last is not None and action.baseline is not None and order.last.id != action.baseline
    earliest = action.sent_at + patience.second_call
    if action.looks < patience.looks_before_second_call or now < earliest:
        again = now + _pause(action, patience)
        enough = action.looks >= patience.looks_before_second_call
        return LookAgain(max(again, earliest) if enough else again)
    if action.step is Step.CANCEL_ORDER and order.history.reinstated:
        return End(State.FAILED, "it was cancelled, and has been reinstated since")
    if moved:
        return End(State.FAILED, "the call was not applied, and the order has moved on since")
    if action.posts >= patience.calls:
        return End(State.FAILED, f"{action.posts} calls without any visible effect")
    return Gate()


def _pause(action: Action, patience: Patience) -> timedelta:
    pause: timedelta = patience.first_look * 2 ** min(action.looks, 6)
    return pause


def unconfirmed(action: Action, now: datetime, patience: Patience) -> bool:
    """Whether a call went out so long ago that people should know that nothing proves it yet."""
    return action.sent_at is not None and action.posts > 0 and now - action.sent_at >= patience.alarm


def cancelled_event(action: Action, order: Order) -> int | None:
    """The event that proves the target cancelled; 0 when it is proven without an event; None when it is not.

    An answer of 200 proves nothing: the order's last event must be a cancellation, or the appointment's
    status `cancelled` (LANGUAGE, evaluation step 10).
    """
    if action.step is Step.CANCEL_ORDER:
        last = order.last
        return last.id if last is not None and last.status.cancelled else None
    active = order.appointment
    gone = isinstance(active, Appointment) and active.id == action.target and active.status == "cancelled"
    slot = slot_of(order, action.target)
    if not gone and (slot is None or slot.status != "cancelled"):
        return None
    news = order.history.seen("appointment_cancelled")
    return news[-1].id if news else 0


def _visit_stands(order: Order) -> bool:
    visits = [slot for slot in order.appointments if slot.kind == HOME_VISIT]
    newest = max(visits, key=lambda slot: slot.newness, default=None)
    if newest is None or newest.status not in WAITING:
        return False
    return order.appointment_missing is None or order.appointment_missing < newest.observed_at


def target_of(step: Step, order: Order) -> str:
    """What a step cancels: the order itself, or its active appointment."""
    if step is Step.CANCEL_ORDER:
        return order.id
    slot = order.appointment
    assert isinstance(slot, Appointment)
    return slot.id


def slot_of(order: Order, appointment_id: str) -> Appointment | None:
    return next((slot for slot in order.appointments if slot.id == appointment_id), None)


def undone(order: Order, ours: Iterable[Action]) -> Order:
    """The order as it was before these steps of one decision: their events and what they did to the slot are
    left out, so that cancelling the slot cannot talk the rule out of cancelling the order."""
    for action in ours:
        if not (action.step is Step.CANCEL_PSC and action.state is State.CONFIRMED and action.ours):
            continue
        caused = frozenset(
            event.id
            for event in order.history.seen("appointment_cancelled")
            if action.baseline is not None and event.id > action.baseline
        )
        slots = tuple(
            replace(slot, status=action.before or slot.status) if slot.id == action.target else slot
            for slot in order.appointments
        )
        # Junction's answer that there is none any more is our doing, too.
        order = replace(
            order, history=order.history.without(caused), appointments=slots, appointment_missing=None
        )
    return order
