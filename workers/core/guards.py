"""The hard guards: what must surely be so before anything is cancelled, whatever a rule says. Not switchable.

Each guard answers *when* it permits. They are checked when planning and again on the fresh order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from workers.core.case import CLOCK_TOLERANCE, Case
from workers.core.instants import Instants, Spans
from workers.core.order import HOME_VISIT, PSC, WAITING, Appointment, NoAppointment
from workers.core.policy import Act, Include, Policy, Rule, Wish
from workers.core.status import Method, Reach, Window

STARTED_LATELY = timedelta(hours=12)  # a visit may have happened that nobody has reported yet

Answer = Callable[[Policy, Wish, Case], Instants]


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard: what it demands, in words, and when it permits."""

    name: str
    demands: str
    permits: Answer


# --- for all actions ------------------------------------------------------------------------------------


def _status_known(_policy: Policy, _wish: Wish, case: Case) -> Instants:
    return Instants.given(case.order.entry is not None)


def _right_place(policy: Policy, _wish: Wish, case: Case) -> Instants:
    team = case.order.facts.team_id
    if case.environment != policy.environment:
        return Instants.never()
    if team is None or case.team_id is None:
        return Instants.unknown()
    return Instants.given(team == case.team_id)


def _nothing_from_the_future(_policy: Policy, _wish: Wish, case: Case) -> Instants:
    newest = case.order.newest_time()
    return Instants.known(Spans.since(newest - CLOCK_TOLERANCE)) if newest else Instants.unknown()


# --- for cancelling an order ------------------------------------------------------------------------------


def _cancellable(_policy: Policy, wish: Wish, case: Case) -> Instants:
    entry = case.order.entry
    return Instants.given(entry is not None and wish.admits(entry))


def _nothing_gone(_policy: Policy, wish: Wish, case: Case) -> Instants:
    """FACTS, trap 1: from the whole history, since a kit comes back to `received` after delivery.

    An opt-in lifts exactly the reach of the status it opens: a registered kit may have been shipped out, a
    drawn sample may have been drawn; neither may have gone any further.
    """
    order, history = case.order, case.order.history
    entry = order.entry
    allowed = Reach.NOWHERE
    if entry and entry.window is Window.REGISTERED_KITS and Include.REGISTERED_KITS in wish.include:
        allowed = Reach.SHIPPED
    if entry and entry.window is Window.DRAWN and Include.DRAWN in wish.include:
        allowed = Reach.DRAWN
    gone_further = {
        Reach.NOWHERE: history.shipped or order.facts.outbound_tracking,
        Reach.SHIPPED: history.drawn,
        Reach.DRAWN: history.collected,
    }
    if gone_further[allowed]:
        return Instants.never()
    may_have = history.strange or order.facts.unreadable_events
    return Instants.unknown() if may_have else Instants.always()


def _no_visit_under_way(_policy: Policy, _wish: Wish, case: Case) -> Instants:
    match case.order.appointment:
        case NoAppointment.NONE:
            return Instants.always()
        case NoAppointment.UNKNOWN:
            return Instants.unknown()
        case Appointment(status="cancelled"):
            return Instants.always()
        case Appointment(status=status) if status not in WAITING:
            return Instants.never()
        case Appointment(start=None, status="confirmed"):
            return Instants.unknown()
        case Appointment(start=None):
            return Instants.always()
        case Appointment(start=start):
            assert start is not None
            return Instants.known(~Spans.between(start, start + STARTED_LATELY))


def _no_redraw(_policy: Policy, wish: Wish, case: Case) -> Instants:
    return Instants.given(case.order.facts.origin != "redraw" or Include.REDRAWS in wish.include)


def _activated(_policy: Policy, wish: Wish, case: Case) -> Instants:
    if Include.SCHEDULED in wish.include or case.order.facts.activate_by is None:
        return Instants.always()
    activated = case.activated_at
    return Instants.known(Spans.since(activated)) if activated else Instants.unknown()


def _refundable(policy: Policy, wish: Wish, case: Case) -> Instants:
    """FACTS, section 4: a home visit is refunded only when cancelled MORE than 24 h ahead."""
    if case.order.method is not Method.AT_HOME or wish.refund == "ignore":
        return Instants.always()
    match case.order.appointment:
        case NoAppointment.NONE:
            return Instants.always()
        case NoAppointment.UNKNOWN:
            return Instants.unknown()
        case Appointment(status="cancelled") | Appointment(status="pending", start=None):
            return Instants.always()
        case Appointment(start=None):
            return Instants.unknown()
        case Appointment(start=start):
            assert start is not None
            line = case.calendar.subtract(start, policy.home_visit_refund.window)
            return Instants.known(Spans.until(case.calendar.subtract(line, policy.home_visit_refund.margin)))


def _not_refused_here(_policy: Policy, _wish: Wish, case: Case) -> Instants:
    last = case.order.last
    return Instants.given(last is None or last.id not in case.refused_at)


def _never_cancelled_before(_policy: Policy, _wish: Wish, case: Case) -> Instants:
    return Instants.given(case.order.history.cancelled is None and not case.cancel_confirmed)


# --- for cancelling an appointment alone --------------------------------------------------------------------


def _slot(kind: str) -> Answer:
    def permits(_policy: Policy, _wish: Wish, case: Case) -> Instants:
        match case.order.appointment:
            case NoAppointment.UNKNOWN:
                return Instants.unknown()
            case Appointment() as found if found.kind == kind and found.status in WAITING:
                return Instants.given(found.cancellable_provider)
            case _:
                return Instants.never()

    return permits


def _starts_later(_policy: Policy, _wish: Wish, case: Case) -> Instants:
    match case.order.appointment:
        case NoAppointment.NONE:
            return Instants.never()
        case Appointment(start=datetime() as start):
            return Instants.known(Spans.until(start))
        case _:
            return Instants.unknown()


REFUND = Guard("refund", "a home visit still refunded in full", _refundable)

_EVERYWHERE = (
    Guard("status", "a status and a method that we know", _status_known),
    Guard("place", "the policy's environment and our team", _right_place),
    Guard("future", "no fact dated in the future", _nothing_from_the_future),
)
_FOR_ORDERS = (
    Guard("cancellable", "a status that may be cancelled", _cancellable),
    Guard("gone", "nothing shipped or collected in the whole history", _nothing_gone),
    Guard("visit", "no visit under way, done, or begun in the last 12 h", _no_visit_under_way),
    Guard("redraw", "no redraw", _no_redraw),
    Guard("activated", "past the day it is scheduled for", _activated),
    REFUND,
    Guard("refused", "not refused by Junction at this very event", _not_refused_here),
    Guard("reinstated", "never cancelled before", _never_cancelled_before),
)

GUARDS: dict[Act, tuple[Guard, ...]] = {
    Act.CANCEL_ORDER: (*_EVERYWHERE, *_FOR_ORDERS),
    Act.CANCEL_PSC: (
        *_EVERYWHERE,
        Guard("slot", "a PSC slot that waits and that the API can cancel", _slot(PSC)),
        Guard("later", "a start in the future", _starts_later),
    ),
    Act.CANCEL_HOME_VISIT: (
        *_EVERYWHERE,
        Guard("slot", "a home visit that waits and that the API can cancel", _slot(HOME_VISIT)),
        Guard("later", "a start in the future", _starts_later),
        REFUND,
    ),
    Act.KEEP: (),
}


def guards(policy: Policy, rule: Rule, case: Case) -> Iterator[tuple[Guard, Instants]]:
    """Each guard of the rule's action with when it permits."""
    for guard in GUARDS[rule.then.action]:
        yield guard, guard.permits(policy, rule.wish, case)
