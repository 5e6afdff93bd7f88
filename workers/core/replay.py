"""What a policy would have done with an order along its history, and will do if nothing more happens.

Pure: the same engine that decides, asked at each instant that matters. Notices count as delivered when sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from workers.core.case import Case
from workers.core.history import History
from workers.core.order import Appointment, Order
from workers.core.plan import Notice, Plan, RulePlan, plan
from workers.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Firing:
    """One rule becoming due: when, and whether it would have acted (not shadow)."""

    at: datetime
    rule: RulePlan
    case: Case

    @property
    def acts(self) -> bool:
        return self.rule.space == "live"


def replay(policy: Policy, case: Case, until: datetime) -> Iterator[Firing]:
    """The firings up to `until`, oldest first, ending with the first that acts. `case.now` does not matter.

    At each event the rest of the history is covered up (`as_of`). Signals count from when they were posted,
    labels as if they had always been.
    """
    instants = [event.at for event in case.order.history.events]
    instants += [signal.at for signal in case.signals]
    instants += [_booked(slot) for slot in case.order.appointments]
    changes = sorted({at for at in instants if at <= until})
    for at, following in zip(changes, [*changes[1:], until], strict=True):
        if not _may_act(policy, case.order.history.until(at)):
            continue
        for firing in coming(policy, as_of(case, at), following):
            yield firing
            if firing.acts:
                return
            case = replace(case, decided=case.decided | {f"{firing.rule.space}:{firing.rule.key}"})


def _may_act(policy: Policy, history: History) -> bool:
    """Whether any rule may act in the status it ends with. Of an unknown one only a plan can tell."""
    entry = history.last.status.entry if history.last else None
    return entry is None or entry.key in policy.statuses


def as_of(case: Case, now: datetime) -> Case:
    """The case as it could have been known at `now`, as far as the last picture of it tells.

    An appointment counts from its booking on; before its last change it is what the order's events said of
    it, for the time it was last booked for.
    """
    order = case.order
    history = order.history.until(now)
    facts = replace(
        order.facts,
        updated_at=min(order.facts.updated_at, now),
        observed_at=min(order.facts.observed_at, now),
        # A kit has its tracking number when it leaves. One without any event of leaving had it all along.
        outbound_tracking=order.facts.outbound_tracking
        and (order.history.shipped is None or history.shipped is not None),
    )
    slots = tuple(_slot_at(now, slot, history) for slot in order.appointments if _booked(slot) <= now)
    missing = order.appointment_missing
    return replace(
        case,
        now=now,
        order=Order(order.id, facts, history, slots, missing if missing and missing <= now else None),
        signals=tuple(signal for signal in case.signals if signal.at <= now),
    )


def _booked(slot: Appointment) -> datetime:
    return slot.booked_at or slot.changed_at


def _slot_at(now: datetime, slot: Appointment, history: History) -> Appointment:
    if slot.changed_at <= now:
        return replace(slot, observed_at=min(slot.observed_at, now))
    told = [e for e in history.events if e.status.name in _SAID and e.at >= _booked(slot)]
    status, at = (_SAID[told[-1].status.name], told[-1].at) if told else ("confirmed", _booked(slot))
    return replace(slot, status=status, changed_at=at, observed_at=at)


_SAID = {
    "appointment_pending": "pending",
    "appointment_scheduled": "confirmed",
    "appointment_cancelled": "cancelled",
}


def coming(policy: Policy, case: Case, end: datetime) -> Iterator[Firing]:
    """The firings from `case.now` until just before `end` if nothing new happens; ends with one that acts.
    A notice that is on its way arrives now.
    """
    if case.notices:
        case = replace(case, notices={key: at or case.now for key, at in case.notices.items()})
    while case.now < end:
        found = plan(policy, case)
        for rule in found.due:
            yield Firing(case.now, rule, case)
            if rule.space == "live":
                return
        fired = {f"{rule.space}:{rule.key}" for rule in found.due}
        told = {notice.key: max(notice.send_at, case.now) for notice in _sent_by(found, end)}
        following = min(_instants(found, told), default=None)
        if following is None or following >= end:
            return
        case = replace(case, now=following, decided=case.decided | fired, notices={**case.notices, **told})


def _sent_by(found: Plan, end: datetime) -> Iterator[Notice]:
    return (rule.notice for rule in found.rules if rule.notice is not None and rule.notice.send_at < end)


def _instants(found: Plan, told: dict[str, datetime]) -> Iterator[datetime]:
    """When something may happen next: a rule's first instant, or the end of the wait for its notice."""
    for rule in found.rules:
        if rule.first is not None and rule.first > found.now and rule.acts:
            yield rule.first
        if rule.notice is not None and rule.notice.key in told:
            yield max(rule.notice.due_at, found.now)
